"""Every Eval Ever: JSON files of the shared schema of evaluations (evalevalai.com, its schema 0.2), read and made.

Each result is a task (`evaluation_name`) and a metric. Sizes, tokens and FLOPs of the run stand as texts under the
model's `additional_details`, for the schema has no place of their own for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._config import from_config
from astraios.importers._evaluations import interval, model_facts
from astraios.importers._files import head, number, read_object, walk
from astraios.importers._runs import Found, Skipped, imported, task_row
from astraios.records import EvaluationRow, Score, TaskRow

SCHEMA = "0.2.1"
DETAILS = ("n_params", "n_params_nonembedding", "n_trainable", "n_tokens", "train_flops", "method_id", "run_id",
           "dataset_id", "seed")  # fmt: skip
"""Facts of a run that the schema keeps as additional details."""


@dataclass(frozen=True)
class EveryEvalEver(Importer):
    """A file, or a folder with some."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_files(path)) if path.is_dir() else _looks_right(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        found: dict[str, Found] = {}
        tasks: dict[str, TaskRow] = {}
        for file in _files(path) if path.is_dir() else [path]:
            with skipped.item(file):
                content = read_object(file)
                run = _found(content, file)
                run = found.setdefault(repr(run.identity), run)
                _add(run, content, file, tasks)
        return imported(self.name, found.values(), wanted, skipped, tasks, adds=True)


every_eval_ever = EveryEvalEver(name="every-eval-ever", title="Every Eval Ever", priority=4)


def _files(folder: Path) -> list[Path]:
    return [path for path in walk(folder, "*.json") if _looks_right(path)]


def _looks_right(path: Path) -> bool:
    start = head(path)
    return path.suffix == ".json" and b'"schema_version"' in start and b'"evaluation_results"' in start


def _found(content: Mapping[str, Any], path: Path) -> Found:
    about = content.get("model_info")
    name = str((about or {}).get("id") or (about or {}).get("name") or "") if isinstance(about, Mapping) else ""
    if not isinstance(about, Mapping) or not name:
        raise DataError(f"{path}: no model_info that names a model")
    details = about.get("additional_details") or {}
    told, folder = model_facts(name, None, path.parent)
    facts = from_config({key: value for key, value in details.items() if key in DETAILS})
    return Found(
        label=name,
        identity=[name, details.get("run_id")],
        facts={**told.facts, **facts},
        settings={"model": name, "library": content.get("eval_library"), "details": details},
        source={**told.source, **dict.fromkeys(facts, "additional_details")},
        place=str(folder or ""),
        joins=[*([str(details["run_id"])] if details.get("run_id") else []), name],
    )


def _add(run: Found, content: Mapping[str, Any], path: Path, tasks: dict[str, TaskRow]) -> None:
    results = content.get("evaluation_results")
    if not isinstance(results, list) or not results:
        raise DataError(f"{path}: no evaluation_results")
    for place, result in enumerate(results):
        where = f"{path}: evaluation_results[{place}]"
        details, config = result.get("score_details"), result.get("metric_config")
        if not isinstance(details, Mapping) or not isinstance(config, Mapping):
            raise DataError(f"{where}: score_details and metric_config were expected")
        more = {**(config.get("additional_details") or {}), **(details.get("details") or {})}
        task, metric = str(result.get("evaluation_name")), str(more.get("metric") or "score")
        doubt = details.get("uncertainty") or {}
        error = (doubt.get("standard_error") or {}).get("value")
        items, shots = doubt.get("num_samples"), str(more.get("n_shot") or "0")
        n = items if isinstance(items, int) else None
        unit = 100 if config.get("max_score") == 100 and not config.get("lower_is_better") else 1
        value = number(details.get("score"), where, "score") / unit
        stderr = number(error, where, "standard_error") / unit if error is not None else None
        low, high = interval(value, stderr, n)
        n_shot = int(shots) if shots.isdigit() else 0
        run.scores.append(Score.told(task, metric, value, n_shot=n_shot, stderr=stderr, ci_low=low, ci_high=high, n=n))
        if not any((row.task_id, row.n_shot) == (task, n_shot) for row in run.evaluations):
            settings = {"source": path.name, "source_data": result.get("source_data")}
            run.evaluations.append(EvaluationRow(task_id=task, n_shot=n_shot, n_items=n, settings=settings))
        tasks.setdefault(
            task, task_row(task, metric, "generation", [metric] if config.get("lower_is_better") else None)
        )


def document(run: Mapping[str, Any], scores: Iterable[Mapping[str, Any]], timestamp: str) -> dict[str, Any]:
    """One file of the schema: a run and its scores, with its sizes, tokens and FLOPs as additional details.

    Args:
        run: columns of the table run.
        scores: columns of score, with higher_is_better.
        timestamp: when it is made, seconds since 1970 as text.
    """
    details = {name: str(run[name]) for name in DETAILS if run.get(name) is not None}
    model = str(run["model_id"])
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"astraios/{model}/{run['run_id']}/{timestamp}",
        "retrieved_timestamp": timestamp,
        "source_metadata": {
            "source_name": "astraios", "source_type": "evaluation_run", "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "astraios", "version": "unknown"},
        "model_info": {"name": model, "id": model, "additional_details": details},
        "evaluation_results": [_result(score) for score in scores],
    }  # fmt: skip


def _result(score: Mapping[str, Any]) -> dict[str, Any]:
    doubt: dict[str, Any] = {}
    if score.get("stderr") is not None:
        doubt["standard_error"] = {"value": score["stderr"], "method": "analytic"}
    if score.get("n") is not None:
        doubt["num_samples"] = score["n"]
    details = {"score": score["value"], "details": {"metric": score["metric"], "n_shot": str(score["n_shot"])}}
    better = score.get("higher_is_better", True)
    # Only a share has bounds that are known.
    bounds = {"score_type": "continuous", "min_score": 0.0, "max_score": 1.0} if better and _is_share(score) else {}
    return {
        "evaluation_name": score["task_id"],
        "source_data": {"dataset_name": score["task_id"], "source_type": "other"},
        "metric_config": {"lower_is_better": not better, **bounds},
        "score_details": {**details, **({"uncertainty": doubt} if doubt else {})},
    }  # fmt: skip


def _is_share(score: Mapping[str, Any]) -> bool:
    return 0 <= score["value"] <= 1
