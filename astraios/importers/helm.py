"""HELM: folders of runs (run_spec.json with stats.json), one a scenario and model; or a suite of them.

A scenario is a task, `max_train_instances` its number of demonstrations. The statistics of the test split are taken
(of the validation split where there is no test), without perturbations; counts, times and token numbers are no scores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._evaluations import Evaluation, add_evaluation, model_facts
from astraios.importers._files import kind, plain_file, read_json, read_object, walk
from astraios.importers._runs import Found, Skipped, imported, task_row
from astraios.importers._units import is_higher_better
from astraios.records import EvaluationRow, Score, TaskRow

_SPEC, _STATS = "run_spec.json", "stats.json"
_NO_SCORE = re.compile(
    r"^(num_|max_|inference_|training_|batch_size|logprob|finish_reason|prompt_|estimated_|predicted_)"
)


@dataclass(frozen=True)
class Helm(Importer):
    """A run's folder, or a folder with some."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return path.is_dir() and bool(_runs(path))

    def read(self, source: str, wanted: Wanted) -> Imported:
        skipped = Skipped(wanted.strict)
        runs: dict[str, Found] = {}
        tasks: dict[str, TaskRow] = {}
        for folder in _runs(Path(source)):
            with skipped.item(folder.name):
                spec = read_object(folder / _SPEC)
                one = _evaluation(folder, spec)
                name = str((spec.get("adapter_spec") or {}).get("model") or "")
                told, home = model_facts(name, None, folder)
                run = runs.setdefault(
                    name, Found(name, [name], told.facts, source=told.source, place=str(home or ""), joins=[name])
                )
                add_evaluation(run, one, folder.name, skipped)
                tasks[one.task.task_id] = one.task
        return imported(self.name, runs.values(), wanted, skipped, tasks, adds=True)


helm = Helm(name="helm", title="HELM runs", priority=4)


def _runs(folder: Path) -> list[Path]:
    return [path.parent for path in walk(folder, _SPEC) if plain_file(path.parent / _STATS)]


def _evaluation(folder: Path, spec: Mapping[str, Any]) -> Evaluation:
    adapter, stats = spec.get("adapter_spec"), read_json(folder / _STATS)
    if not isinstance(adapter, Mapping) or not adapter.get("model") or not isinstance(stats, list):
        raise DataError(f"{folder}: not a run of HELM (no model, or stats is {kind(stats)})")
    name = re.sub(r",?\bmodel(_deployment)?=[^,]*", "", str(spec.get("name") or folder.name)).rstrip(":,")
    shots = adapter.get("max_train_instances")
    mark: dict[str, Any] = {"task_id": name, "n_shot": shots if isinstance(shots, int) else 0}
    values: dict[str, dict[str, float]] = {"test": {}, "valid": {}}
    for stat in stats:
        about = stat.get("name") if isinstance(stat, Mapping) else None
        if isinstance(about, Mapping) and not about.get("perturbation") and about.get("split") in values:
            value = stat.get("mean")
            if isinstance(value, int | float) and not isinstance(value, bool):
                values[about["split"]][str(about.get("name"))] = float(value)
    split = "test" if values["test"] else "valid"
    told = values[split]
    n = int(told["num_instances"]) if "num_instances" in told else None
    scores = [
        Score.told(**mark, metric=metric, value=value, n=n)
        for metric, value in told.items()
        if not _NO_SCORE.match(metric)
    ]
    if not scores:
        raise DataError(f"{folder / _STATS}: no score of the test or validation split")
    instances = adapter.get("max_eval_instances")
    settings = {"source": folder.name, "split": split, "method": adapter.get("method"), "max_eval_instances": instances}
    lower = [one.metric for one in scores if not is_higher_better(one.metric)]
    return Evaluation(
        row=EvaluationRow(**mark, n_items=n, settings={key: one for key, one in settings.items() if one is not None}),
        scores=scores,
        samples=[],
        task=task_row(name, scores[0].metric, "comprehension", lower or None),
        variant=f"limit={instances}" if isinstance(instances, int) and n is not None and n >= instances else "",
    )
