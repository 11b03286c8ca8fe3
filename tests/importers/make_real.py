"""Lets the real tools train and evaluate, and writes beside their files what the runs really had.

    python tests/importers/make_real.py FOLDER [PART]...

Run by the long tests in an environment of its own (test_real.py installs it). No network and no model weights: bases
are random and tiny. FOLDER/PART holds what the tools wrote, FOLDER/PART.json the truth: a list of runs with what the
optimizer held, the losses that were logged, and so on.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LENGTH, VOCABULARY = 16, 120


def tiny(folder: Path, width: int = 32, layers: int = 2, tied: bool = False) -> int:
    """A Llama with random weights and a byte-level tokenizer, saved; its parameters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=tied,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={"<|endoftext|>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>", pad_token="<|endoftext|>").save_pretrained(
        folder
    )
    return sum(parameter.numel() for parameter in model.parameters())


def adapters() -> dict[str, Any]:
    """The tuning methods that are trained, with their PEFT configurations; None trains everything."""
    from peft import LoraConfig, PrefixTuningConfig, VeraConfig

    modules = ["q_proj", "v_proj"]
    return {
        "fft": None,
        "lora": LoraConfig(r=4, lora_alpha=8, target_modules=modules, task_type="CAUSAL_LM"),
        "dora": LoraConfig(r=4, target_modules=modules, use_dora=True, task_type="CAUSAL_LM"),
        "vera": VeraConfig(r=16, target_modules=modules, task_type="CAUSAL_LM"),
        "prefix_tuning": PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    }


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    import torch

    torch.manual_seed(seed)
    return [{"input_ids": (ids := torch.randint(1, VOCABULARY, (LENGTH,))), "labels": ids} for _ in range(count)]


def trained(trainer: Any) -> dict[str, int]:
    """What the optimizer holds, and the base."""
    held = {id(p): p.numel() for group in trainer.optimizer.param_groups for p in group["params"]}
    return {"n_trainable": sum(held.values())}


def last(log: list[dict[str, Any]], name: str) -> float | None:
    return next((entry[name] for entry in reversed(log) if name in entry), None)


SWEEP = [(method, rate, seed, steps) for method in ("lora", "fft") for rate in (1e-3, 3e-3) for seed in (0, 1)
         for steps in (6, 10)]  # fmt: skip


def trainer(out: Path) -> list[dict[str, Any]]:
    """Sixteen runs of the Trainer with four loggers at once, and one of every other method."""
    others = [(method, 1e-3, 3, 6) for method in adapters() if method not in ("lora", "fft")]
    return logged(out, SWEEP + others)


def recorded(out: Path) -> list[dict[str, Any]]:
    """One run of each method, whose files are kept in files/real (for that, run where no path tells anything)."""
    return logged(out, [(method, 1e-3, place, 6) for place, method in enumerate(adapters())])


def logged(out: Path, cells: list[tuple[str, float, int, int]]) -> list[dict[str, Any]]:
    """Runs of the Trainer, by method, rate, seed and steps, each logged to W&B, MLflow, TensorBoard and Trackio."""
    import mlflow
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    n_params = tiny(Path("base"))
    os.environ.update(
        WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(out), MLFLOW_TRACKING_URI=f"sqlite:///{out}/mlflow.db",
        WANDB_X_DISABLE_META="true", WANDB_X_DISABLE_STATS="true", WANDB_DISABLE_GIT="true", WANDB_DISABLE_CODE="true",
        WANDB_CONSOLE="off", WANDB_X_SAVE_REQUIREMENTS="false", WANDB_HOST="machine", MLFLOW_EXPERIMENT_NAME="sweep",
        TRACKIO_DIR=str(out / "trackio"), TRACKIO_PROJECT="sweep",
    )  # fmt: skip
    truth = []
    for method, rate, seed, steps in cells:
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained("base")
        adapter = adapters()[method]
        if adapter is not None:
            model = get_peft_model(model, adapter)
        name = f"out/{method}/lr{rate}/{steps}steps/seed{seed}"
        arguments = TrainingArguments(
            output_dir=name, run_name=name.replace("/", "-"), max_steps=steps, per_device_train_batch_size=4,
            logging_steps=2, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=4,
            learning_rate=rate, seed=seed, use_cpu=True, include_num_input_tokens_seen=True,
            report_to=["wandb", "mlflow", "tensorboard", "trackio"], project="sweep",
        )  # fmt: skip
        work = Trainer(model=model, args=arguments, train_dataset=rows(64, seed), eval_dataset=rows(16, 99))
        work.train()
        work.save_model()
        work.save_state()
        log = work.state.log_history
        truth.append(
            {
                "name": name, "method": method, "seed": seed, "learning_rate": rate, "steps": steps,
                "n_params": n_params, **trained(work), "n_tokens": work.state.num_input_tokens_seen,
                "test": last(log, "eval_loss"), "batch": last(log, "loss"),
            }
        )  # fmt: skip
        import wandb

        wandb.finish()
        mlflow.end_run()
    return truth


PARTS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {"trainer": trainer, "recorded": recorded}


def main(folder: Path, names: list[str]) -> None:
    socket.gethostname = lambda: "machine"
    folder = folder.resolve()
    for name in names or PARTS:
        out = folder / name
        out.mkdir(parents=True)
        os.chdir(out)
        truth = PARTS[name](out)
        (folder / f"{name}.json").write_text(json.dumps(truth, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
