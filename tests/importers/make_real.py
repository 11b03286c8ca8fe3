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


def trl(out: Path) -> list[dict[str, Any]]:
    """TRL: supervised, in full, by LoRA (stopped, and resumed from an earlier checkpoint) and DoRA; and preferences.

    The loss of preferences is no loss of tokens.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            control.should_training_stop = state.global_step == 8

    n_params = tiny(Path("base"))
    os.environ.update(TRACKIO_DIR=str(out / "trackio"))
    tokenizer = AutoTokenizer.from_pretrained("base")
    texts = [{"text": f"item {i} is {i * i}; and so on for {i}."} for i in range(60)]
    data, held = Dataset.from_list(texts[:48]), Dataset.from_list(texts[48:])
    adapters = {
        "fft": None, "lora": LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
        "dora": LoraConfig(r=4, use_dora=True, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    }  # fmt: skip
    truth = []
    for method, adapter in adapters.items():
        name = f"out/{method}"

        def begun(callbacks: list[Any], name: str = name, adapter: Any = adapter) -> Any:
            torch.manual_seed(0)
            arguments = SFTConfig(
                output_dir=name, run_name=name.replace("/", "-"), max_steps=12, per_device_train_batch_size=4,
                logging_steps=2, eval_strategy="steps", eval_steps=3, save_strategy="steps", save_steps=3,
                learning_rate=1e-3, seed=5, use_cpu=True, bf16=False, max_length=64, project="sft",
                report_to=["tensorboard", "trackio"],
            )  # fmt: skip
            return SFTTrainer(
                model="base", args=arguments, train_dataset=data, eval_dataset=held, processing_class=tokenizer,
                peft_config=adapter, callbacks=callbacks,
            )  # fmt: skip

        if method == "lora":
            begun([Stop()]).train()
            work = begun([])
            work.train(resume_from_checkpoint=f"{name}/checkpoint-6")
        else:
            work = begun([])
            work.train()
        work.save_model()
        work.save_state()
        log = work.state.log_history
        counts = [entry["num_tokens"] for entry in log if "num_tokens" in entry]
        tokens = counts[2] + counts[-1] if method == "lora" else counts[-1]  # it counts from 0 again when resumed
        truth.append(
            {
                "name": name, "method": method, "seed": 5, "learning_rate": 1e-3, "n_params": n_params,
                **trained(work), "n_tokens": round(tokens), "test": last(log, "eval_loss"), "batch": last(log, "loss"),
            }
        )  # fmt: skip
    pairs = Dataset.from_list(
        [{"prompt": f"item {i}?", "chosen": f" it is {i}", "rejected": f" no {i}"} for i in range(16)]
    )
    arguments = DPOConfig(
        output_dir="preferences", max_steps=2, per_device_train_batch_size=2, logging_steps=1, eval_strategy="steps",
        eval_steps=2, learning_rate=1e-3, use_cpu=True, report_to=[], bf16=False,
    )  # fmt: skip
    work = DPOTrainer(
        model="base", args=arguments, train_dataset=pairs, eval_dataset=pairs, processing_class=tokenizer,
        peft_config=adapters["lora"],
    )  # fmt: skip
    work.train()
    work.save_state()
    return truth


TASKS = {
    "tiny_places": ("multiple_choice", "doc_to_target: place\ndoc_to_choice: choices", "acc", "acc_norm"),
    "tiny_texts": ("multiple_choice", "doc_to_target: text\ndoc_to_choice: choices", "acc_norm"),
    "tiny_several": ("multiple_choice", "doc_to_target: several\ndoc_to_choice: choices", "acc"),
    "tiny_mutual": ("multiple_choice", "doc_to_target: place\ndoc_to_choice: choices", "acc", "acc_mutual_info"),
    "tiny_prompts": ("multiple_choice", "doc_to_target: ending\ndoc_to_choice: !function rows.prompts", "acc"),
    "tiny_last": ("loglikelihood", "doc_to_target: \"{{' ' + text}}\"", "perplexity", "acc"),
    "tiny_page": ("loglikelihood_rolling", "doc_to_target: page", "bits_per_byte", "byte_perplexity"),
    "tiny_write": ("generate_until", "doc_to_target: written\ngeneration_kwargs:\n  until: [';']\n  max_gen_toks: 4",
                   "exact_match"),
}  # fmt: skip
"""Tasks of lm-evaluation-harness by name: what they ask the model for, how, and their metrics."""
_LOWER = ("perplexity", "bits_per_byte", "byte_perplexity")


def questions() -> list[dict[str, Any]]:
    """Items with two to four choices of several lengths; "2" is a text among them, and its place is another."""
    choices = [["1", "2"], ["3", "2", "1"], ["twelve", "é", "2", "a longer one"], ["2", "0"], ["no", "yes", "2"]]
    return [
        {
            "question": f"item {i}: what is it?", "choices": row, "place": i % len(row), "text": row[i % len(row)],
            "several": sorted({0, i % len(row)}), "prompts": [f"item {i} says", f"nobody said in {i}"],
            "right": i % 2, "ending": "so it was.", "page": f"Page {i}. " + " ".join(row) * (i + 1),
        }
        for i, row in enumerate(choices)
    ]  # fmt: skip


def samples(out: Path) -> list[dict[str, Any]]:
    """Every kind of task by lm-evaluation-harness with its samples, and each log-likelihood by hand."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tiny(Path("base"))
    items = questions()
    for place, item in enumerate(items):
        item["written"] = item["text"] if place else written(item["question"])
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    Path("rows.py").write_text(
        "def prompts(doc):\n    return doc['prompts']\n\n\ndef right(doc):\n    return doc['right']\n"
    )
    for name, (output, how, *metrics) in TASKS.items():
        text = "!function rows.right" if name == "tiny_prompts" else "question"
        listed = "".join(
            f"  - metric: {one}\n    higher_is_better: {str(one not in _LOWER).lower()}\n" for one in metrics
        )
        Path(f"{name}.yaml").write_text(
            f"task: {name}\noutput_type: {output}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
            f"    test: rows.jsonl\ntest_split: test\ndoc_to_text: {text}\n{how}\nmetric_list:\n{listed}"
        )
    tracker = EvaluationTracker(output_path=str(out / "results"))
    found = lm_eval.simple_evaluate(
        model="hf", model_args="pretrained=base,dtype=float32", tasks=list(TASKS), device="cpu", log_samples=True,
        task_manager=TaskManager(include_path=".", include_defaults=False), batch_size=1, bootstrap_iters=10,
        evaluation_tracker=tracker,
    )  # fmt: skip
    logged = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=logged)
    for name in found["configs"]:
        tracker.save_results_samples(task_name=name, samples=logged[name])
    return [row for name in TASKS for row in by_hand(name, items)]


def evaluated(out: Path) -> list[dict[str, Any]]:
    """Eight folders of the Trainer, of four bases, in full and by LoRA, and what lm-evaluation-harness says of each."""
    import lm_eval
    import torch
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions()))
    Path("tiny_places.yaml").write_text(
        "task: tiny_places\noutput_type: multiple_choice\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
        "    test: rows.jsonl\ntest_split: test\ndoc_to_text: question\ndoc_to_target: place\n"
        "doc_to_choice: choices\nmetric_list:\n  - metric: acc\n"
    )
    truth = []
    for width in (16, 32, 48, 64):
        n_params = tiny(Path(f"base{width}"), width)
        for method in ("fft", "lora"):
            torch.manual_seed(0)
            model, name = AutoModelForCausalLM.from_pretrained(f"base{width}"), f"out/{method}/{width}"
            if method == "lora":
                model = get_peft_model(model, adapters()["lora"])
            arguments = TrainingArguments(
                output_dir=name, max_steps=6, per_device_train_batch_size=4, logging_steps=2, eval_strategy="steps",
                eval_steps=3, learning_rate=1e-3, seed=1, use_cpu=True, report_to=[], save_strategy="no",
            )  # fmt: skip
            work = Trainer(model=model, args=arguments, train_dataset=rows(64, 0), eval_dataset=rows(16, 99))
            work.train()
            work.save_model()
            work.save_state()
            given = f"pretrained=base{width},peft={name}" if method == "lora" else f"pretrained={name}"
            tracker = EvaluationTracker(output_path=str(out / "results"))
            found = lm_eval.simple_evaluate(
                model="hf", model_args=f"{given},tokenizer=base{width},dtype=float32", tasks=["tiny_places"],
                task_manager=TaskManager(include_path=".", include_defaults=False), batch_size=1, device="cpu",
                log_samples=True, bootstrap_iters=10, evaluation_tracker=tracker,
            )  # fmt: skip
            logged = found.pop("samples")
            tracker.save_results_aggregated(results=found, samples=logged)
            tracker.save_results_samples(task_name="tiny_places", samples=logged["tiny_places"])
            score = found["results"]["tiny_places"]["acc,none"]
            loss = last(work.state.log_history, "eval_loss")
            truth.append({"name": name, "method": method, "n_params": n_params, "test": loss, "acc": score})
    return truth


def by_hand(name: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the columns of a task's samples should hold, straight from the model."""
    output = TASKS[name][0]
    truth = []
    for place, item in enumerate(items):
        row: dict[str, Any] = {"task_id": name, "item_id": str(place)}
        if output == "multiple_choice":
            prompts = item["prompts"] if name == "tiny_prompts" else [item["question"]] * len(item["choices"])
            endings = [item["ending"]] * 2 if name == "tiny_prompts" else item["choices"]
            told = {"tiny_several": item["several"], "tiny_prompts": [item["right"]]}.get(name, [item["place"]])
            totals = [loglikelihood(prompt, f" {one}") for prompt, one in zip(prompts, endings, strict=True)]
            row |= {"n_choices": len(totals), "answers": told, "choice_loglikelihoods": totals}
            row["choice_bytes"] = [len(one.encode()) for one in endings]
            if len(told) == 1:
                row |= {"loglikelihood": totals[told[0]], "answer_bytes": row["choice_bytes"][told[0]]}
        elif output == "loglikelihood":
            ending = f" {item['text']}"
            row |= {"loglikelihood": loglikelihood(item["question"], ending), "answer_bytes": len(ending.encode())}
        elif output == "loglikelihood_rolling":
            row |= {"loglikelihood": loglikelihood("", item["page"]), "answer_bytes": len(item["page"].encode())}
        elif output == "generate_until":
            row["exact_match"] = float(written(item["question"]) == item["written"])
        truth.append(row)
    return truth


def written(prompt: str) -> str:
    """The likeliest four tokens after a prompt, each given those before, up to a semicolon."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained("base"), AutoTokenizer.from_pretrained("base")
    tokens = tokenizer(prompt)["input_ids"]
    start = len(tokens)
    with torch.no_grad():
        for _ in range(4):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    text: str = tokenizer.decode(tokens[start:], skip_special_tokens=True)
    return text.partition(";")[0]


def loglikelihood(prompt: str, ending: str) -> float:
    """Nats of an ending after a prompt, summed over its tokens; an empty prompt is the token between texts."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained("base"), AutoTokenizer.from_pretrained("base")
    before = tokenizer(prompt)["input_ids"] or [tokenizer.eos_token_id]
    after = tokenizer(ending)["input_ids"]
    with torch.no_grad():
        logprobs = model(torch.tensor([before + after])).logits[0].double().log_softmax(-1)
    return float(sum(logprobs[len(before) - 1 + i, token] for i, token in enumerate(after)))


PARTS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "trainer": trainer, "recorded": recorded, "trl": trl, "samples": samples,
    "evaluated": evaluated,
}  # fmt: skip


def main(folder: Path, names: list[str]) -> None:
    import make_real_loggers

    PARTS.update(make_real_loggers.PARTS)
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
