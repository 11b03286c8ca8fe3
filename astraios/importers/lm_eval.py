"""lm-evaluation-harness: results, from version 0.3 on, with the samples beside them, or a folder of them.

The scores join the run of their model: all results of one model (and adapter) are one run. A task with other
demonstrations, a quantized model or a --limit is another evaluation; of the same one the newest file counts. A group
has the demonstrations of its subtasks. Samples keep the task's first metric and first filter.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._evaluations import Evaluation, add_evaluation, interval, model_facts
from astraios.importers._files import head, inside, number, plain_file, read_object, walk
from astraios.importers._lm_eval_samples import read_samples
from astraios.importers._runs import Found, Skipped, imported, task_row
from astraios.importers._units import is_higher_better
from astraios.records import EvaluationRow, SampleScore, Score, TaskRow

_KINDS = {"multiple_choice": "comprehension", "generate_until": "generation"}
_OPEN = ("generate_until", "loglikelihood")
"""Output types of tasks that offer no choices."""
_NOT_METRICS = ("name", "alias", "sample_len", "samples")
_DATE = re.compile(r"^results_(.+)\.json$")


@dataclass(frozen=True)
class LmEval(Importer):
    """A file of results, or a folder with some."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        if path.is_dir():
            return bool(_results(path))
        return path.suffix == ".json" and _looks_right(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        contents: list[tuple[dict[str, Any], Path]] = []
        for file in _results(path) if path.is_dir() else [path]:
            with skipped.item(file):
                contents.append((_content(file), file))
        runs: dict[str, Found] = {}
        tasks: dict[str, TaskRow] = {}
        for content, file in sorted(contents, key=lambda one: (one[0]["date"], str(one[1]))):
            with skipped.item(file):
                fresh = _found(content, file)
                evaluations = list(_evaluations(content, file, skipped))
                run = runs.setdefault(repr(fresh.identity), fresh)
                for one in evaluations:
                    tasks[one.task.task_id] = one.task
                    add_evaluation(run, one, file.name, skipped)
        return imported(self.name, runs.values(), wanted, skipped, tasks, adds=True)


lm_eval = LmEval(name="lm-eval", title="lm-evaluation-harness results", priority=4)


def _results(folder: Path) -> list[Path]:
    return [path for path in walk(folder, "*.json") if _looks_right(path)]


def _looks_right(path: Path) -> bool:
    start = head(path)
    if start.lstrip()[:1] != b"{":
        return False
    if b'"lm_eval_version"' in start or b'"n-shot"' in start or b'"versions"' in start:
        return b'"results"' in start
    return path.name.startswith("results") and b'"results"' in start[:200]


def _content(path: Path) -> dict[str, Any]:
    content = read_object(path)
    results, config = content.get("results"), content.get("config")
    if not isinstance(results, dict) or not isinstance(config, dict):
        raise DataError(f"{path}: not results of lm-evaluation-harness (no results, or no config)")
    if not isinstance(content.get("date") or 0.0, int | float):
        raise DataError(f"{path}: date should be a number")
    content["date"] = content.get("date") or 0.0
    return content


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """model_args, which is written as a mapping or as "name=value,name=value"."""
    given = config.get("model_args")
    if isinstance(given, Mapping):
        return dict(given)
    return dict(part.split("=", 1) for part in str(given or "").split(",") if "=" in part)


def _found(content: dict[str, Any], path: Path) -> Found:
    config = content["config"]
    arguments = _arguments(config)
    name = str(
        arguments.get("pretrained") or arguments.get("model") or content.get("model_name") or config.get("model")
    )
    adapter = arguments.get("peft") or arguments.get("lora_local_path")
    told, folder = model_facts(name, str(adapter) if adapter else None, path.parent)
    count = config.get("model_num_parameters")
    if not adapter and isinstance(count, int) and count > 0:  # with an adapter the harness counts its parameters too
        told.add("the harness's count", n_params=count)
    revision = config.get("model_sha") or config.get("model_revision")
    if not adapter:
        told.add("the harness", revision=revision or None)
    kept = {key: config.get(key) for key in ("model", "model_dtype", "model_revision", "model_sha", "limit",
                                             "gen_kwargs", "random_seed", "fewshot_seed")}  # fmt: skip
    return Found(
        label=str(adapter or name),
        identity=[name, adapter, revision],
        facts=told.facts,
        settings={
            "config": {**kept, "model_args": arguments},
            "lm_eval_version": content.get("lm_eval_version") or content.get("git_hash"),
            "transformers_version": content.get("transformers_version"),
            **told.settings,
        },
        source=told.source,
        place=str(folder or ""),
        joins=[str(adapter or name)],
    )


_NO_VARIANT = ("pretrained", "peft", "lora_local_path", "tokenizer", "revision", "tokenizer_revision", "dtype",
               "device", "parallelize", "trust_remote_code", "token", "max_length", "batch_size", "max_batch_size",
               "use_cache",
               "low_cpu_mem_usage", "subfolder", "model", "base_url", "tokenized_requests", "num_concurrent",
               "max_retries", "timeout", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size",
               "gpu_memory_utilization", "add_bos_token", "logits_cache", "use_fast_tokenizer", "tokenizer_mode",
               "tokenizer_backend", "truncation", "device_map", "device_map_option", "max_memory_per_gpu",
               "max_cpu_memory", "offload_folder", "swap_space", "max_model_len", "max_num_seqs", "seed", "cache_dir",
               "download_dir", "load_format", "attn_implementation", "mixed_precision_dtype", "enforce_eager",
               "enable_prefix_caching", "disable_log_stats", "disable_custom_all_reduce", "prefix_token_id",
               "distributed_executor_backend", "think_end_token", "softmax_dtype", "backend",
               "enable_lora", "max_lora_rank", "lora_name",
               "verbosity")  # fmt: skip
"""Arguments of a model that leave its answers what they are, but for rounding."""


def _variant(content: Mapping[str, Any]) -> str:
    """What makes all evaluations of a file others than those by the model as it is; see `_part` for a limit."""
    config = content["config"]
    told = {name: value for name, value in _arguments(config).items() if name not in _NO_VARIANT}
    parts = [f"{name}={value}" for name, value in sorted(told.items()) if str(value) not in ("False", "None", "")]
    if config.get("gen_kwargs"):
        given = config["gen_kwargs"]
        pairs = (f"{name}={value}" for name, value in given.items()) if isinstance(given, Mapping) else [str(given)]
        parts += sorted(pairs)
    system = content.get("system_instruction") or config.get("system_instruction")
    if system:
        parts.append(f"system_instruction={hashlib.sha256(str(system).encode('utf-8', 'replace')).hexdigest()[:8]}")
    if any(one.get(name) for one in (content, config) for name in ("chat_template", "apply_chat_template")):
        parts.append("chat_template")
    return ", ".join(parts)


def _part(content: Mapping[str, Any], task: str) -> str:
    """What part of a task was evaluated where it was not the whole: a trial is no result."""
    limit, counted = content["config"].get("limit"), content.get("n-samples") or {}
    tasks = [task, *_below(content, task)]
    sizes = [counted[one] for one in tasks if isinstance(counted.get(one), Mapping)]
    whole = [one.get("effective") == one.get("original") for one in sizes]
    if whole and all(whole):
        return ""
    if limit is not None:
        return f"limit={limit:g}" if isinstance(limit, int | float) else f"limit={limit}"
    told = [one for one in sizes if isinstance(one.get("effective"), int) and isinstance(one.get("original"), int)]
    if not told:
        return ""
    return f"{sum(one['effective'] for one in told)} of {sum(one['original'] for one in told)}"


def _below(content: Mapping[str, Any], task: str) -> list[str]:
    """The tasks and groups of a group, at any depth, each once."""
    groups = content.get("group_subtasks") or {}
    found, waiting = dict.fromkeys([task]), [task]
    while waiting:
        below = groups.get(waiting.pop()) or []
        fresh = [one for one in map(str, below if isinstance(below, list) else []) if one not in found]
        found |= dict.fromkeys(fresh)
        waiting += fresh
    return list(found)[1:]


def _shots(content: Mapping[str, Any], task: str) -> list[int]:
    """Numbers of demonstrations of a task: its own, or its subtasks' where it is a group."""
    config = (content.get("configs") or {}).get(task) or {}
    for given in ((content.get("n-shot") or {}).get(task), config.get("num_fewshot")):
        if isinstance(given, int) and not isinstance(given, bool):
            return [given]
    groups = content.get("group_subtasks") or {}
    tasks = [one for one in _below(content, task) if not groups.get(one)]
    return sorted({shots for one in tasks for shots in _shots(content, one)})


def _evaluations(content: dict[str, Any], path: Path, skipped: Skipped) -> Iterator[Evaluation]:
    groups = content.get("group_subtasks") or {}
    overall = content["config"].get("num_fewshot")
    by_all = _variant(content)
    for task, metrics in content["results"].items():
        if not isinstance(metrics, Mapping):
            raise DataError(f"{path}: results.{task}: an object was expected")
        config = (content.get("configs") or {}).get(task) or {}
        counted = (content.get("n-samples") or {}).get(task) or {}
        shots = _shots(content, task) or ([overall] if isinstance(overall, int) else [0])
        mark: dict[str, Any] = {"task_id": task, "n_shot": shots[-1]}
        n = counted.get("effective")
        variant = ", ".join(part for part in (_part(content, task), by_all) if part)
        scores = list(_scores(metrics, mark, n, f"{path}: results.{task}", skipped))
        if not scores:
            skipped.add(f"{task}", "a group without a score of its own" if groups.get(task) else "no score")
            continue
        better = (content.get("higher_is_better") or {}).get(task) or {}
        lower = [score.metric for score in scores if _is_lower_better(score.metric, better)]
        settings = {
            "version": (content.get("versions") or {}).get(task), "source": path.name, "of": counted.get("original"),
            "created": datetime.fromtimestamp(content["date"], UTC).isoformat() if content["date"] else None,
            "task_hash": (content.get("task_hashes") or {}).get(task), "group": bool(groups.get(task)),
            "generation_kwargs": config.get("generation_kwargs"), "output_type": config.get("output_type"),
            "shots": shots if len(shots) > 1 else None, "variant": variant,
        }  # fmt: skip
        output = str(config.get("output_type", ""))
        yield Evaluation(
            row=EvaluationRow(**mark, n_items=n,
                              settings={k: v for k, v in settings.items() if v not in (None, False, "")}),
            scores=scores,
            samples=_samples(path, task, config, mark, scores, skipped),
            task=_task(task, output, [score.metric for score in scores], lower if better or lower else None),
            variant=variant,
        )  # fmt: skip


def _task(task: str, output: str, metrics: list[str], lower: list[str] | None) -> TaskRow:
    """What is known of a task: its main metric is the first; where answers are open, guessing scores nothing."""
    from astraios.evaluate.common_tasks import guessing_open

    row = task_row(task, metrics[0], _KINDS.get(output, "likelihood" if output else "comprehension"), lower)
    counted = any(guessing_open(metric) == 0 for metric in metrics if metric not in (lower or ()))
    return replace(row, chance=0.0) if row.chance is None and output in _OPEN and counted else row


def _samples(
    path: Path, task: str, config: Mapping[str, Any], mark: Mapping[str, Any], scores: list[Score], skipped: Skipped
) -> list[SampleScore]:
    file = _sample_file(path, task)
    if file is None:
        return []
    with skipped.item(file):  # without its samples a score is still one
        return list(read_samples(file, task, config, mark, scores[0].metric.partition(",")[0], skipped))
    return []


def _is_lower_better(metric: str, better: Mapping[str, Any]) -> bool:
    """What the harness says of a metric, else its name."""
    name = metric.partition(",")[0]
    return better[name] is False if name in better else not is_higher_better(name)


def _scores(
    metrics: Mapping[str, Any], mark: Mapping[str, Any], n: int | None, where: str, skipped: Skipped
) -> Iterator[Score]:
    """Scores named as the harness does, but for the filter "none"."""
    named = any("," in key for key in metrics)
    for key, value in metrics.items():
        name, comma, kept_by = key.partition(",")
        if not comma and not named and key not in _NOT_METRICS:  # before version 0.4 there was no filter
            kept_by = "none"
        elif not comma:
            continue
        if name.endswith("_stderr"):
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            skipped.add(f"{mark['task_id']}, {key}", f"not a number ({value!r:.40})")
            continue
        error = metrics.get(f"{name}_stderr,{kept_by}" if named else f"{name}_stderr")
        stderr = number(error, where, f"the standard error of {key}") if error not in (None, "N/A") else None
        value = float(value)
        stderr = stderr if stderr is None or math.isfinite(stderr) else None
        low, high = interval(value, stderr, n)
        metric = name if kept_by == "none" else key
        yield Score.told(**mark, metric=metric, value=value, stderr=stderr, ci_low=low, ci_high=high, n=n)


def _sample_file(path: Path, task: str) -> Path | None:
    """The samples of a task beside its results; version 0.4.0 put the model's arguments into their name."""
    date = _DATE.match(path.name)
    if date:
        file = inside(path.parent, f"samples_{task}_{date[1]}.jsonl")
        return file if file is not None and plain_file(file) else None
    named = [file for file in sorted(path.parent.glob("*.jsonl")) if file.name.endswith(f"_{task}.jsonl")]
    beside = [file for file in named if inside(path.parent, file.name) and plain_file(file)]
    return beside[0] if len(beside) == 1 else None
