"""Two small bases of different architectures, with random weights, on disk as a user would have them."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import time
from pathlib import Path

import pytest

PAPER = ("fft", "lora", "ptuning", "ia3", "adapterh", "adapterp", "parallel", "prompt", "adalora")

BASES = {
    "gpt_bigcode": {"n_positions": 96, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 128, "multi_query": True}
    | dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0),
    "llama": {"max_position_embeddings": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "num_key_value_heads": 2},
}


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of the bases, by model type."""
    torch = pytest.importorskip("torch", reason="needs the extra astraios[train]")
    pytest.importorskip("peft", reason="needs the extra astraios[train]")
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({f"t{i}": i for i in range(64)}, unk_token="t0")), eos_token="t0"
    )
    places = {}
    for kind, fields in BASES.items():
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, vocab_size=64, bos_token_id=0, eos_token_id=0, **fields)
        places[kind] = tmp_path_factory.mktemp("bases") / kind
        AutoModelForCausalLM.from_config(config).save_pretrained(places[kind])
        tokenizer.save_pretrained(places[kind])
    return places


@pytest.fixture(scope="session")
def counted() -> tuple[dict, float]:
    """Counts of every method at StarCoderBase's four sizes, and the CPU seconds that the paper's nine took."""
    pytest.importorskip("peft", reason="needs the extra astraios[train]")
    from astraios.models.counting import count_parameters
    from astraios.models.ladders import LADDERS
    from astraios.models.methods import METHODS

    ladder, found, seconds = LADDERS.get("starcoderbase"), {}, 0.0
    for name in (*PAPER, *(name for name in METHODS.names() if name not in PAPER)):
        method, start = METHODS.get(name), time.process_time()
        found[name] = [
            count_parameters(ladder.config(rung.model_id), method, method.with_defaults({}), 200)
            for rung in ladder.rungs()
        ]
        seconds += time.process_time() - start if name in PAPER else 0.0
    return found, seconds
