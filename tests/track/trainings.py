"""Trainings with the libraries' own trainers, as a script of each: `python -m tests.track.trainings NAME FOLDER`.

Each prints one line of JSON: by run, the losses of the tool's own log as (split, step, loss). Run by the tests with the
interpreter of an environment that has the library.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 6
Own = dict[str, list[tuple[str, int, float]]]


def tiny_model(width: int = 16, lora: bool = False) -> Any:
    """A byte-level model with random weights, tuned whole or with LoRA."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama", vocab_size=260, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128, bos_token_id=256, eos_token_id=257,
        pad_token_id=258,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    model.config._name_or_path = f"tests/tiny-{width}"
    if not lora:
        return model
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"]))


def tokenizer() -> Any:
    """Bytes, and three special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = {"<s>": 256, "</s>": 257, "<pad>": 258}
    bpe = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)} | special, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    found = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    found.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    return found


def blocks(n: int) -> list[dict[str, Any]]:
    """Rows of tokens with something to learn."""
    import torch

    rows = []
    for i in range(n):
        ids = torch.tensor([(7 * i + k * (i % 5 + 1)) % 256 for k in range(32)])
        rows.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids})
    return rows


def of_trainer(trainer: Any) -> list[tuple[str, int, float]]:
    """The losses in a Trainer's own history."""
    names = {"loss": "batch", "eval_loss": "test"}
    return [(names[name], row["step"], row[name]) for row in trainer.state.log_history for name in names if name in row]


def arguments(folder: Path, name: str, kind: Any, **more: Any) -> Any:
    return kind(
        output_dir=str(folder / name), max_steps=STEPS, per_device_train_batch_size=4, logging_steps=2, eval_steps=3,
        eval_strategy="steps", save_strategy="no", disable_tqdm=True, use_cpu=True, learning_rate=1e-2,
        report_to="none", **more,
    )  # fmt: skip


def trainer(folder: Path) -> Own:
    """Sizes x methods x seeds."""
    from transformers import Trainer, TrainingArguments

    from astraios.track.transformers import AstraiosCallback

    own: Own = {}
    for width in (16, 24, 32):
        for lora in (False, True):
            for seed in (0, 1):
                args = arguments(folder, f"out-{width}-{lora}-{seed}", TrainingArguments, seed=seed)
                callback = AstraiosCallback(out=folder / "runs", ladder="tiny-llama")
                rows = blocks(40)
                model = tiny_model(width, lora)
                one = Trainer(model, args, train_dataset=rows[:32], eval_dataset=rows[32:], callbacks=[callback])
                one.train()
                assert callback.run is not None
                own[callback.run.id] = of_trainer(one)
    return own


def sft(folder: Path) -> Own:
    """TRL's SFTTrainer, by the name in report_to."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    import astraios.track.transformers  # noqa: F401

    rows = Dataset.from_list([{"text": f"add {i} to {i + 1} and call it {2 * i + 1}"} for i in range(40)])
    args = arguments(folder, "out", SFTConfig, max_length=64)
    args.report_to = ["astraios"]
    one = SFTTrainer(
        model=tiny_model(16, lora=True), args=args, train_dataset=rows.select(range(32)),
        eval_dataset=rows.select(range(32, 40)), processing_class=tokenizer(),
    )  # fmt: skip
    one.train()
    [callback] = [c for c in one.callback_handler.callbacks if type(c).__name__ == "AstraiosCallback"]
    return {callback.run.id: of_trainer(one)}


def grpo(folder: Path) -> Own:
    """TRL's GRPOTrainer; gives the rewards of its own log, as (task, step, value)."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from astraios.track.transformers import AstraiosCallback

    def short(completions: list[str], **kwargs: Any) -> list[float]:
        return [1.0 / (1 + len(text)) for text in completions]

    rows = Dataset.from_list([{"prompt": f"count to {i}"} for i in range(16)])
    args = GRPOConfig(
        output_dir=str(folder / "out"), max_steps=3, per_device_train_batch_size=4, num_generations=4, logging_steps=1,
        max_completion_length=8, save_strategy="no", disable_tqdm=True, use_cpu=True, report_to="none",
    )  # fmt: skip
    callback = AstraiosCallback(out=folder / "runs", dataset="counting@1")
    one = GRPOTrainer(
        model=tiny_model(16), args=args, train_dataset=rows, reward_funcs=short, processing_class=tokenizer(),
        callbacks=[callback],
    )  # fmt: skip
    one.train()
    assert callback.run is not None
    return {
        callback.run.id: [("reward", row["step"], row["reward"]) for row in one.state.log_history if "reward" in row]
        + [("loss", row["step"], row["loss"]) for row in one.state.log_history if "loss" in row]
    }


def dpo(folder: Path) -> Own:
    """TRL's DPOTrainer; gives the margins of its own log, as (task, step, value)."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from astraios.track.transformers import AstraiosCallback

    pairs = [{"prompt": f"say {i}: ", "chosen": f"{i}", "rejected": f"not {i}"} for i in range(16)]
    args = DPOConfig(
        output_dir=str(folder / "out"), max_steps=3, per_device_train_batch_size=2, logging_steps=1,
        save_strategy="no", disable_tqdm=True, use_cpu=True, report_to="none", max_length=64,
    )  # fmt: skip
    callback = AstraiosCallback(out=folder / "runs", dataset="pairs@1")
    one = DPOTrainer(
        model=tiny_model(16, lora=True), args=args, train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer(), callbacks=[callback],
    )  # fmt: skip
    one.train()
    assert callback.run is not None
    history = one.state.log_history
    return {
        callback.run.id: [
            ("rewards/margins", row["step"], row["rewards/margins"]) for row in history if "rewards/margins" in row
        ]
    }


def lightning(folder: Path) -> Own:
    """A LightningModule, beside Lightning's own CSV logger."""
    import csv

    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger

    from astraios.track.lightning import AstraiosLogger

    class Module(LightningModule):  # type: ignore[misc]
        def __init__(self, lr: float = 1e-2, seed: int = 5) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.model = tiny_model(16, lora=True)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.model(**batch).loss
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.model(**batch).loss)

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.hparams.lr)

    rows = blocks(40)
    ours = AstraiosLogger(out=folder / "runs", dataset="blocks@1", tags=["a"])
    own = CSVLogger(folder / "csv")
    fit = Trainer(
        max_steps=STEPS, logger=[ours, own], log_every_n_steps=2, val_check_interval=3, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, accelerator="cpu",
    )  # fmt: skip
    fit.fit(
        Module(),
        torch.utils.data.DataLoader(rows[:32], batch_size=4),
        torch.utils.data.DataLoader(rows[32:], batch_size=4),
    )
    names = {"train_loss": "batch", "val_loss": "test"}
    with open(Path(own.log_dir) / "metrics.csv") as file:
        table = list(csv.DictReader(file))
    return {
        ours.version: [
            (names[name], int(row["step"]), float(row[name])) for row in table for name in names if row.get(name)
        ]
    }


def accelerate(folder: Path) -> Own:
    """A loop of one's own with Accelerate."""
    import torch
    from accelerate import Accelerator

    from astraios.track.accelerate import AstraiosTracker

    model = tiny_model(16)
    tracker = AstraiosTracker(model=model, out=folder / "runs", dataset="blocks@1", seed=0)
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("mine", config={"lr": 1e-2, "batch_size": 4})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    rows = blocks(4 * STEPS)
    model, optimizer, loader = accelerator.prepare(model, optimizer, torch.utils.data.DataLoader(rows, batch_size=4))
    own = []
    for step, batch in enumerate(loader, 1):
        loss = model(**batch).loss
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        accelerator.log({"train/loss": loss.item(), "learning_rate": 1e-2}, step=step)
        own.append(("batch", step, loss.item()))
    accelerator.end_training()
    assert tracker.run is not None
    return {tracker.run.id: own}


def inspect(folder: Path) -> Own:
    """A task of inspect_ai that scores the run of a folder; gives its accuracy."""
    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelAPI, ModelOutput, get_model, modelapi
    from inspect_ai.scorer import match

    import astraios
    import astraios.track.inspect
    from astraios.track import note

    @modelapi(name="local")
    class Local(ModelAPI):  # type: ignore[misc]
        """Says the same to everything; counts no tokens with a file from the network, as the mock model does."""

        def __init__(self, model_name: str, model_path: str, **kwargs: Any) -> None:
            super().__init__(model_name)

        async def generate(self, *args: Any, **kwargs: Any) -> Any:
            return ModelOutput.from_content(self.model_name, "2")

        async def count_text_tokens(self, text: str) -> int:
            return len(text)

    run = astraios.init(model="mine/a", method="lora", n_params=1e6, out=folder / "runs")
    note.leave(folder / "model", run)
    run.log({"eval/loss": 2.0}, step=10)
    task = Task(dataset=[Sample(input=f"say {i}", target=str(i)) for i in (1, 2, 3)], scorer=match(), name="saying")
    run.finish()
    model = get_model("local/tuned", model_path=str(folder / "model" / "checkpoint-10"))
    [log] = evaluate(task, model=model, log_dir=str(folder / "logs"), display="none")
    assert log.status == "success", log.error
    told = log.results.scores[0].metrics
    return {run.id: [("saying", 0, told["accuracy"].value), ("stderr", 0, told["stderr"].value), ("step", 10, 0.0)]}


TRAININGS: dict[str, Callable[[Path], Own]] = {
    "trainer": trainer,
    "sft": sft,
    "grpo": grpo,
    "dpo": dpo,
    "lightning": lightning,
    "accelerate": accelerate,
    "inspect": inspect,
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(TRAININGS[sys.argv[1]](Path(sys.argv[2]))) + "\n")
