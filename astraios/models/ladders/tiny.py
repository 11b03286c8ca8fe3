"""The tiny ladder: StarCoder's architecture at five small sizes, pretrained here from Python's standard library.

What the paper's ladder is to a GPU cluster, this one is to a laptop without a network: real code, real training, the
same architecture (GPTBigCode, multi-query attention, tied embeddings, tanh GELU, inner width 4 d) and, as in
StarCoderBase, the same pretraining tokens for every size. Bases are built once and cached.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.data.sources.python_stdlib import modules
from astraios.files import cache_dir, exclusive, write_atomically
from astraios.models.ladders import Ladder, Rung

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VOCABULARY = 1024
POSITIONS = 320
"""Enough for 256 tokens behind 30 virtual ones."""
END_OF_TEXT = "<|endoftext|>"
INITIALIZER_GAIN = 0.8
"""Standard deviation of the initial weights times sqrt(d); the library's 0.02 stalls at bigram level at this width."""


@dataclass(frozen=True)
class Recipe:
    """Pretraining of one rung."""

    width: int
    layers: int
    heads: int
    learning_rate: float
    n_tokens: int = 512 * 1024
    sequence_length: int = 288
    """Longer than in tuning, because virtual tokens shift positions by up to 30."""
    batch_size: int = 4
    warmup_share: float = 0.05
    seed: int = 0

    @property
    def steps(self) -> int:
        return self.n_tokens // (self.sequence_length * self.batch_size)


RECIPES = {
    "tiny/66k": Recipe(32, 2, 2, 6e-3),
    "tiny/116k": Recipe(48, 2, 2, 5.5e-3),
    "tiny/178k": Recipe(64, 2, 2, 5e-3),
    "tiny/428k": Recipe(96, 3, 3, 4e-3),
    "tiny/866k": Recipe(128, 4, 4, 3e-3),
}


class TinyLadder(Ladder):
    """Five rungs that are built on the spot; tiny/66k-s1 is the first one pretrained with another seed, and so on."""

    name = "tiny"

    def rungs(self) -> tuple[Rung, ...]:
        return tuple(self._described(model_id) for model_id in RECIPES)

    def sizes(self) -> tuple[tuple[str, int], ...]:
        # All are known by building alone; to describe them takes reading the text that they are pretrained on.
        return ()

    def find(self, model_id: str) -> Rung | None:
        # By its name alone: to describe the others takes reading the text that they are pretrained on.
        name, _, seed = model_id.rpartition("-s")
        if name in RECIPES and seed.isdecimal():
            return self._described(model_id)
        short = {name.removeprefix("tiny/"): name for name in RECIPES}
        name = short.get(model_id.lower(), model_id.lower())
        return self._described(name) if name in RECIPES else None

    def _described(self, model_id: str) -> Rung:
        recipe = _recipe(model_id)
        return Rung(
            model_id=model_id,
            ladder=self.name,
            name=model_id.removeprefix("tiny/"),
            architecture="GPTBigCodeForCausalLM",
            config=architecture(recipe),
            revision=revision(recipe),
        )

    def is_ready(self, model_id: str) -> bool:
        """Whether the base is in the cache."""
        return (_folder(_recipe(model_id)) / "done.json").is_file()

    def prepare(self, model_id: str, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Pretrains the base where the cache has none; goes on from its last checkpoint."""
        folder = _folder(_recipe(model_id))
        with exclusive(folder.with_suffix(".lock"), wait=math.inf, what=f"base model {model_id}"):
            if not self.is_ready(model_id):
                _pretrain(model_id, _recipe(model_id), folder, progress)

    def source(self, model_id: str) -> tuple[str, str | None]:
        return str(_folder(_recipe(model_id))), None

    def load(self, model_id: str, **options: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        from astraios.models.ladders.hub import load_pretrained

        self.prepare(model_id)
        return load_pretrained(self.source(model_id)[0], **{**options, "trust_remote_code": False})

    def load_bare(self, model_id: str, **options: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        from astraios.models.ladders.hub import bare_pretrained

        self.prepare(model_id)
        return bare_pretrained(self.source(model_id)[0], **{**options, "trust_remote_code": False})


def _recipe(model_id: str) -> Recipe:
    name, _, seed = model_id.rpartition("-s")
    return replace(RECIPES[name], seed=int(seed)) if name in RECIPES else RECIPES[model_id]


def architecture(recipe: Recipe) -> dict[str, Any]:
    """GPTBigCode fields of a rung."""
    return {
        "model_type": "gpt_bigcode",
        "vocab_size": VOCABULARY,
        "n_positions": POSITIONS,
        "n_embd": recipe.width,
        "n_layer": recipe.layers,
        "n_head": recipe.heads,
        "n_inner": 4 * recipe.width,
        "activation_function": "gelu_pytorch_tanh",
        "multi_query": True,
        "tie_word_embeddings": True,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "initializer_range": INITIALIZER_GAIN / recipe.width**0.5,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }


@cache
def _base_text_hash() -> str:
    digest = hashlib.sha256()
    for path, text in modules("base"):
        digest.update(path.encode() + b"\0" + text.encode() + b"\0")
    return digest.hexdigest()


@cache
def revision(recipe: Recipe) -> str:
    """Hash of the recipe, the architecture and the text that it is pretrained on."""
    content = json.dumps([asdict(recipe), architecture(recipe), _base_text_hash()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _folder(recipe: Recipe) -> Path:
    return cache_dir() / "tiny" / revision(recipe)


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level BPE trained on the base split; trained once and cached."""
    from transformers import PreTrainedTokenizerFast

    folder = cache_dir() / "tiny"
    file = folder / f"tokenizer-{VOCABULARY}-{_base_text_hash()[:16]}.json"
    with exclusive(file.with_suffix(".lock"), wait=math.inf, what="the tiny ladder's tokenizer"):
        if not file.is_file():
            write_atomically(file, _train_tokenizer().encode())
    return PreTrainedTokenizerFast(tokenizer_file=str(file), eos_token=END_OF_TEXT, pad_token=END_OF_TEXT)


def _train_tokenizer() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        (text for _, text in modules("base")),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return bpe.to_str()


def _pretraining_blocks(recipe: Recipe) -> Any:
    """Blocks of the base split, shape (blocks, sequence_length): modules in an order drawn by the seed."""
    import torch

    texts = [text for _, text in modules("base")]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(recipe.seed)).tolist()
    bpe = tokenizer()
    ids: list[int] = []
    for index in order:
        ids += [*bpe(texts[index])["input_ids"], bpe.eos_token_id]
        if len(ids) >= recipe.n_tokens:
            break
    blocks = len(ids) // recipe.sequence_length
    return torch.tensor(ids[: blocks * recipe.sequence_length]).reshape(blocks, recipe.sequence_length)


def _pretrain(model_id: str, recipe: Recipe, folder: Path, progress: Callable[[int, int], None]) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from astraios.data.packing import PackedData
    from astraios.train.checkpoint import Checkpoint
    from astraios.train.loop import Trainer, TrainSpec

    torch.manual_seed(recipe.seed)
    model = AutoModelForCausalLM.from_config(tiny.config(model_id))
    blocks = _pretraining_blocks(recipe)
    data = PackedData(blocks, blocks, blocks[:0], blocks[:0], 0, 0.0)
    spec = TrainSpec(
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        micro_batch=recipe.batch_size,
        warmup_steps=max(1, round(recipe.warmup_share * recipe.steps)),
        final_learning_rate=0.05,
        weight_decay=0.1,
        betas=(0.9, 0.95),
        eval_every=recipe.steps,
        log_every=recipe.steps,
        checkpoint_every=100,
    )
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(folder / "checkpoint.pt")
    trainer = Trainer(
        model,
        data,
        spec,
        method=None,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
        on_loss=lambda point: None,
        on_step=lambda step: progress(step, spec.steps),
        save=checkpoint.save,
    )
    if state := checkpoint.load():
        trainer.restore(state)
    state = trainer.run()
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    write_atomically(
        folder / "done.json",
        json.dumps({"recipe": asdict(recipe), "train_seconds": state.train_seconds}).encode(),
    )
    checkpoint.remove()


tiny = TinyLadder()
