"""Writes the files of `files/`, each by the tool whose format it is. Run by hand, where the tools are installed:

    python tests/importers/make_files.py [NAME]...

Written with transformers 5.23.0, peft 0.21.2, lm_eval 0.4.13, inspect_ai 0.3.285, wandb 0.31.0, mlflow-skinny 3.17.2,
tensorboardX 2.6.5, tensorboard 2.21.0 (read back). No network and no model weights: bases are random and tiny.
Two files were not written here: `peft/` holds a result of peft's method comparison (huggingface/peft, Apache-2.0,
commit 1948110; the machine, and times and memory of single steps, left out), and `bigcode/` is made by hand in the
form that the BigCode harness writes, for the harness is on no registry; its numbers are made up.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILES = Path(__file__).resolve().parent / "files"
SECRET = "hf_" + "planted" * 5
"""A key that ends up in the files, so that a test can show that it never reaches the database."""


def base(folder: Path) -> None:
    """A GPTBigCode model of two layers with random weights and a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={"<|endoftext|>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "gpt_bigcode", vocab_size=257, n_positions=128, n_embd=16, n_layer=2, n_head=2, n_inner=64
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>", pad_token="<|endoftext|>").save_pretrained(
        folder
    )


def trainer(out: Path) -> None:
    """Output directories of the Trainer: LoRA over a base, and full fine-tuning."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    base(Path("tiny-base"))
    rows = [{"input_ids": (ids := torch.randint(1, 257, (32,))), "labels": ids} for _ in range(24)]
    for name in ("lora", "full"):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained("tiny-base")
        if name == "lora":
            model = get_peft_model(model, LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM"))
        arguments = TrainingArguments(
            output_dir=name, max_steps=8, per_device_train_batch_size=4, logging_steps=2, eval_strategy="steps",
            eval_steps=4, save_steps=4, learning_rate=1e-2, seed=3, report_to=[], use_cpu=True,
            include_num_input_tokens_seen=True, hub_token=SECRET,
        )  # fmt: skip
        work = Trainer(model=model, args=arguments, train_dataset=rows[:16], eval_dataset=rows[16:])
        work.train()
        work.save_model()
        work.save_state()
        keep = ("trainer_state.json", "adapter_config.json", "adapter_model.safetensors", "config.json")
        for path in sorted(Path(name).rglob("*")):
            if path.name in keep or (path.name == "model.safetensors" and path.parent == Path(name)):
                target = out / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    (out / "tiny-base").mkdir()
    for part in ("config.json", "model.safetensors"):
        shutil.copy(Path("tiny-base") / part, out / "tiny-base" / part)


def lm_eval(out: Path) -> None:
    """Results and samples of two tasks, one of them twice with other demonstrations."""
    import datasets
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    datasets.disable_progress_bars()
    base(Path("tiny-base"))
    questions = [
        {"question": f"{i}+1=", "choices": [str(i + 1), str(i + 2)], "answer": 0, "text": str(i + 1)} for i in range(6)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    common = (
        "dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: rows.jsonl\n    train: rows.jsonl\n"
        "test_split: test\ntraining_split: train\nfewshot_split: train\ndoc_to_text: '{{question}}'\n"
    )
    Path("tasks").mkdir()
    Path("tasks/choose.yaml").write_text(
        f"task: tiny_choose\noutput_type: multiple_choice\n{common}doc_to_choice: choices\ndoc_to_target: answer\n"
        "num_fewshot: 1\nmetric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n"
        "  - metric: acc_norm\n    aggregation: mean\n    higher_is_better: true\n"
    )
    Path("tasks/write.yaml").write_text(
        f"task: tiny_write\noutput_type: generate_until\n{common}doc_to_target: text\n"
        "generation_kwargs:\n  until: ['\\n']\n  max_gen_toks: 4\n"
        "metric_list:\n  - metric: exact_match\n    aggregation: mean\n    higher_is_better: true\n"
    )
    tracker = EvaluationTracker(output_path="results")
    found = lm_eval.simple_evaluate(
        model="hf", model_args="pretrained=tiny-base,dtype=float32", tasks=["tiny_choose", "tiny_write"],
        task_manager=TaskManager(include_path="tasks", include_defaults=False), batch_size=4, device="cpu",
        log_samples=True, bootstrap_iters=100, evaluation_tracker=tracker,
    )  # fmt: skip
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for task in found["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    for path in sorted(Path("results").rglob("*.json*")):
        shutil.copy(path, out / path.name)
    for path in out.glob("results_*.json"):
        content = json.loads(path.read_text())
        content["pretty_env_info"] = "OS: (the machine is left out)"
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False))


def inspect(out: Path) -> None:
    """One evaluation in both formats of the log, by inspect_ai's own model for tests.

    It estimates tokens with tiktoken, which fetches its table from the network: here a byte is a token.
    """
    import types

    import tiktoken
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ModelOutput, get_model
    from inspect_ai.scorer import includes, match
    from inspect_ai.solver import generate

    tiktoken.get_encoding = lambda name: types.SimpleNamespace(encode=lambda text, **_: list(text.encode()))
    answers = ["4", "7", "Paris", "4", "6", "London"]
    questions = [
        Sample(input="2+2?", target="4", id="sum"),
        Sample(input="3+3?", target="6", id=2),
        Sample(input="Capital of France?", target="Paris", id="ville/é"),
    ]
    task = Task(
        name="facts", dataset=MemoryDataset(questions, name="facts"), solver=[generate()],
        scorer=[match(), includes()], epochs=2,
    )  # fmt: skip
    for form in ("eval", "json"):
        outputs = [ModelOutput.from_content("mockllm/model", text) for text in answers]
        eval(
            task, model=get_model("mockllm/model", custom_outputs=outputs), log_dir=form, log_format=form,
            display="none", max_connections=1, max_samples=1, log_realtime=False, log_level_transcript="critical",
        )  # fmt: skip
        for path in Path(form).glob("*.*"):
            if form == "eval":
                shutil.copy(path, out / "facts.eval")
            else:
                with gzip.GzipFile(out / "facts.json.gz", "wb", mtime=0) as packed:
                    packed.write(path.read_bytes())


def wandb(out: Path) -> None:
    """Two offline runs: one whose step metric is defined, one that counts steps as W&B does."""
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true")
    import wandb

    for name, seed in (("lora-32", 1), ("ia3-32", 2)):
        run = wandb.init(
            project="ladder", name=name, id=f"{name}-{seed}".replace("-", ""), dir=".",
            config={
                "_name_or_path": "tiny/32", "model/num_parameters": 59_000, "method": name.split("-")[0], "seed": seed,
                "learning_rate": 1e-3, "hub_token": SECRET, "output_dir": "/data/somebody/out",
                "nested": {"api_key": SECRET, "rank": 8},
            },
            settings=wandb.Settings(
                x_disable_stats=True, x_disable_meta=True, x_save_requirements=False, disable_git=True,
                disable_code=True, console="off", host="machine",
            ),
        )  # fmt: skip
        if seed == 1:
            run.define_metric("train/global_step")
            run.define_metric("*", step_metric="train/global_step", step_sync=True)
        for step in range(0, 50, 10):
            more = {"train/global_step": step} if seed == 1 else {}
            run.log({"train/loss": 4.2 - step / 50, "train/grad_norm": 1.0, **more})
            run.log({"eval/loss": 4.0 - step / 50, "eval/accuracy": step / 100, **more})
        if seed == 1:
            run.log({"eval/loss": float("nan"), "train/global_step": 50})
            run.log({"eval/loss": float("inf"), "train/global_step": 60})
            run.log({"eval/loss": 3.25, "train/global_step": 40})
        run.finish()
    for path in sorted(Path("wandb").glob("offline-run-*/*.wandb")):
        target = out / path.parent.name
        target.mkdir(parents=True)
        shutil.copy(path, target / path.name)


def mlflow(out: Path) -> None:
    """The same two runs in an sqlite file and in a folder mlruns."""
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow

    for uri in ("sqlite:///mlflow.db", "file:./mlruns"):
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("ladder")
        for name, seed in (("lora-32", 1), ("ia3-32", 2)):
            with mlflow.start_run(run_name=name):
                mlflow.set_tags({"mlflow.user": "somebody", "mlflow.source.name": "/data/somebody/train.py"})
                mlflow.log_params(
                    {"_name_or_path": "tiny/32", "num_parameters": 59_000, "method": name.split("-")[0], "seed": seed,
                     "learning_rate": 1e-3, "hub_token": SECRET, "output_dir": "/data/somebody/out"}
                )  # fmt: skip
                for step in range(0, 50, 10):
                    mlflow.log_metric("loss", 4.2 - step / 50, step=step)
                    mlflow.log_metric("eval_loss", 4.0 - step / 50, step=step)
                    mlflow.log_metric("eval_accuracy", step / 100, step=step)
                if seed == 1:
                    mlflow.log_metric("eval_loss", float("nan"), step=50)
                    mlflow.log_metric("eval_loss", float("inf"), step=60)
                    mlflow.log_metric("eval_loss", 3.25, step=40)
    connection = sqlite3.connect("mlflow.db")
    connection.execute("update runs set artifact_uri = 'file:///data/somebody/mlruns'")
    connection.execute("update experiments set artifact_location = 'file:///data/somebody/mlruns'")
    connection.commit()
    connection.execute("vacuum")
    connection.close()
    with gzip.GzipFile(out / "mlflow.db.gz", "wb", mtime=0) as packed:
        packed.write(Path("mlflow.db").read_bytes())
    shutil.copytree("mlruns", out / "mlruns")
    for meta in (out / "mlruns").rglob("meta.yaml"):
        lines = [line for line in meta.read_text().splitlines() if not line.startswith("artifact")]
        meta.write_text("\n".join([*lines, "artifact_uri: file:///data/somebody/mlruns"]) + "\n")


def tensorboard(out: Path) -> None:
    """Two folders of event files, by the writer of tensorboardX and of torch (which is tensorboard's own)."""
    from tensorboardX import SummaryWriter
    from torch.utils.tensorboard import SummaryWriter as TorchWriter

    for name, kind in (("lora", SummaryWriter), ("ia3", TorchWriter)):
        writer: Any = kind(f"logs/{name}")
        for step in range(0, 50, 10):
            writer.add_scalar("train/loss", 4.2 - step / 50, step)
            writer.add_scalar("eval/loss", 4.0 - step / 50, step)
        writer.add_scalar("eval/loss", float("nan"), 50)
        writer.add_scalar("eval/loss", 3.25, 40)
        writer.add_text("args", "text")
        writer.close()
        for path in sorted(Path(f"logs/{name}").glob("events*")):
            (out / name).mkdir(parents=True)
            shutil.copy(path, out / name / "events.out.tfevents.1700000000.machine.1.0")


MAKERS: dict[str, Callable[[Path], None]] = {
    "trainer": trainer, "lm_eval": lm_eval, "inspect": inspect, "wandb": wandb, "mlflow": mlflow,
    "tensorboard": tensorboard,
}  # fmt: skip


def main(names: list[str]) -> None:
    socket.gethostname = lambda: "machine"
    for name in names or MAKERS:
        out = FILES / name
        if out.exists():
            sys.exit(f"{out} is there: move it away first")
        out.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            os.chdir(scratch)
            MAKERS[name](out)
            os.chdir(FILES)


if __name__ == "__main__":
    main(sys.argv[1:])
