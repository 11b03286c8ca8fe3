"""lm-evaluation-harness: results_DATE.json with the samples_TASK_DATE.jsonl beside it, or a folder of them.

The scores join the run of their model: all results of one model (and adapter) are one run, task by task the newest file
counts, and --set run_id=RUN hangs them on a run that is there. Samples keep the task's first metric and first filter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._files import head, number, read_lines, read_object
from astraios.importers._models import UNSPECIFIED, UNTUNED, base_model, peft_method
from astraios.importers._runs import Found, Skipped, imported, task_row
from astraios.records import EvaluationRow, SampleScore, Score, TaskRow

_KINDS = {"multiple_choice": "comprehension", "generate_until": "generation"}
_NOT_METRICS = ("name", "alias", "sample_len", "samples")
_DATE = re.compile(r"^results_(.+)\.json$")


@dataclass(frozen=True)
class LmEval(Importer):
    """A file of results, or a folder with some."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        if path.is_dir():
            return bool(_results(path))
        return path.suffix == ".json" and path.is_file() and _looks_right(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped()
        files = _results(path) if path.is_dir() else [path]
        contents = sorted(((_content(file), file) for file in files), key=lambda one: (one[0]["date"], str(one[1])))
        runs: dict[str, Found] = {}
        tasks: dict[str, TaskRow] = {}
        for content, file in contents:
            fresh = _found(content, file)
            run = runs.setdefault(repr(fresh.identity), fresh)
            for evaluation in _evaluations(content, file, skipped):
                key = (evaluation.row.task_id, evaluation.row.n_shot)
                if _drop(run, key):
                    skipped.add(f"{key[0]}, {key[1]}-shot", f"results before those of {file.name}")
                run.evaluations.append(evaluation.row)
                run.scores += evaluation.scores
                run.samples += evaluation.samples
                tasks[key[0]] = evaluation.task
        return imported(self.name, runs.values(), wanted, skipped, tasks, adds=True)


lm_eval = LmEval(name="lm-eval", title="lm-evaluation-harness results", priority=4)


@dataclass
class _Evaluation:
    """One task of one file."""

    row: EvaluationRow
    scores: list[Score]
    samples: list[SampleScore]
    task: TaskRow


def _results(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("results_*.json")) if _looks_right(path)]


def _looks_right(path: Path) -> bool:
    start = head(path)
    return bool(_DATE.match(path.name) and start.lstrip()[:1] == b"{") and (
        b'"results"' in start[:200] or b'"lm_eval_version"' in start or b'"n-shot"' in start
    )


def _content(path: Path) -> dict[str, Any]:
    content = read_object(path)
    results, config = content.get("results"), content.get("config")
    if not isinstance(results, dict) or not isinstance(config, dict):
        raise DataError(f"{path}: not results of lm-evaluation-harness (no results, or no config)")
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
    adapter, count = arguments.get("peft"), config.get("model_num_parameters")
    facts = base_model(name, path.parent)
    facts["method_id"] = UNTUNED
    if adapter:
        settings = Path(adapter) / "adapter_config.json"
        facts["method_id"] = peft_method(read_object(settings)) if settings.is_file() else UNSPECIFIED
    elif isinstance(count, int) and count > 0:
        # With an adapter the harness counts its parameters too.
        facts["n_params"] = facts.get("n_params") or count
    revision = config.get("model_sha") or config.get("model_revision")
    kept = {key: config.get(key) for key in ("model", "model_dtype", "model_revision", "model_sha", "limit",
                                             "gen_kwargs", "random_seed", "fewshot_seed")}  # fmt: skip
    return Found(
        label=name,
        identity=[name, adapter, revision],
        facts={**facts, "revision": None if adapter else revision},
        settings={
            "config": {**kept, "model_args": arguments},
            "lm_eval_version": content.get("lm_eval_version") or content.get("git_hash"),
            "transformers_version": content.get("transformers_version"),
        },
    )


def _drop(run: Found, key: tuple[str, int]) -> bool:
    """Takes a task's earlier results out of a run; whether there were any."""
    before = len(run.evaluations)
    lists: tuple[list[Any], ...] = (run.evaluations, run.scores, run.samples)
    for rows in lists:
        rows[:] = [row for row in rows if (row.task_id, row.n_shot) != key]
    return len(run.evaluations) < before


def _evaluations(content: dict[str, Any], path: Path, skipped: Skipped) -> Iterator[_Evaluation]:
    groups = content.get("group_subtasks") or {}
    for task, metrics in content["results"].items():
        if not isinstance(metrics, Mapping):
            raise DataError(f"{path}: results.{task}: an object was expected")
        config = (content.get("configs") or {}).get(task) or {}
        samples = (content.get("n-samples") or {}).get(task) or {}
        shots = (content.get("n-shot") or {}).get(task)
        n_shot = shots if isinstance(shots, int) else config.get("num_fewshot") or 0
        mark = {"task_id": task, "n_shot": n_shot}
        n = samples.get("effective")
        scores = list(_scores(metrics, mark, n, f"{path}: results.{task}", skipped))
        if not scores:
            skipped.add(f"{task}", "a group without a score of its own" if groups.get(task) else "no score")
            continue
        better = (content.get("higher_is_better") or {}).get(task) or {}
        lower = [name for score in scores if better.get((name := score.metric).partition(",")[0]) is False]
        settings = {
            "version": (content.get("versions") or {}).get(task), "source": path.name, "of": samples.get("original"),
            "task_hash": (content.get("task_hashes") or {}).get(task), "group": bool(groups.get(task)),
            "generation_kwargs": config.get("generation_kwargs"), "output_type": config.get("output_type"),
        }  # fmt: skip
        output = str(config.get("output_type", ""))
        yield _Evaluation(
            row=EvaluationRow(
                **mark, n_items=n, settings={k: v for k, v in settings.items() if v not in (None, False)}
            ),
            scores=scores,
            samples=list(_samples(path, task, mark, skipped)),
            task=task_row(task, scores[0].metric, _KINDS.get(output, "likelihood" if output else "comprehension"),
                          lower if better else None),
        )  # fmt: skip


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
        low, high = (value - 1.959964 * stderr, value + 1.959964 * stderr) if stderr is not None else (None, None)
        yield Score.told(
            **mark,
            metric=name if kept_by == "none" else key,
            value=value,
            stderr=stderr if stderr is None or math.isfinite(stderr) else None,
            ci_low=low,
            ci_high=high,
            n=n,
        )


def _samples(path: Path, task: str, mark: Mapping[str, Any], skipped: Skipped) -> Iterator[SampleScore]:
    date = _DATE.match(path.name)
    file = path.with_name(f"samples_{task}_{date[1]}.jsonl") if date else None
    if file is None or not file.is_file():
        return
    metric = kept_by = None
    others: set[str] = set()
    kept: dict[str, SampleScore] = {}
    for line, row in read_lines(file):
        where = f"{file}: line {line}"
        names, item = row.get("metrics"), row.get("doc_id")
        if not isinstance(names, list) or item is None:
            raise DataError(f"{where}: not a sample of lm-evaluation-harness (no metrics, or no doc_id)")
        metric, kept_by = metric or (names[0] if names else ""), kept_by or row.get("filter", "none")
        if row.get("filter", "none") != kept_by:
            others.add(f"filter {row.get('filter')}")
            continue
        others |= {f"metric {name}" for name in names if name != metric}
        value = row.get(metric)
        if isinstance(value, bool | int | float):
            score = float(value)
            verdict = {1.0: "passed", 0.0: "failed"}.get(score, "scored")
            kept[str(item)] = SampleScore(**mark, item_id=str(item), sample=0, value=score, verdict=verdict)
        else:
            others.add(f"metric {metric} (not a number)")
    for other in sorted(others):
        skipped.add(f"samples of {task}, {other}", f"{metric} with filter {kept_by} is kept of each sample")
    yield from kept.values()
