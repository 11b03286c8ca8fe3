"""BigCode evaluation harness: evaluation_results.json (its generations are scored by `astraios score`).

The file holds a metric by name for each task, and under "config" the arguments of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError, UsageError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._evaluations import Evaluation, add_evaluation, model_facts
from astraios.importers._files import head, kind, parse_json, plain_file, read_object, read_text
from astraios.importers._runs import Found, Skipped, imported, task_row
from astraios.records import EvaluationRow, Score, TaskRow

_ARGUMENTS = ("temperature", "top_p", "top_k", "n_samples", "do_sample", "max_length_generation", "precision", "prompt",
              "limit", "limit_start", "seed", "postprocess", "load_in_8bit", "load_in_4bit")  # fmt: skip


@dataclass(frozen=True)
class BigCode(Importer):
    """A file of metrics."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        if not path.name.endswith((".json", ".json.gz")) or not plain_file(path):
            return False
        start = head(path, 4096).lstrip()
        if _is_generations(start):
            return True
        return start[:1] == b"{" and b'"config"' in head(path) and (b'"pass@' in start or b'"n_samples"' in head(path))

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        if _is_generations(head(path, 4096).lstrip()):
            parse_json(read_text(path), str(path))
            raise UsageError(
                f"{path}: generations, not metrics: score them with `astraios score {path.name} --task TASK`, "
                "which records the scores"
            )
        content = read_object(path)
        config = content.pop("config", None)
        if not isinstance(config, Mapping) or not config.get("model"):
            raise DataError(f"{path}: not metrics of the BigCode harness (no config that names a model)")
        run = _found(config, path)
        tasks: dict[str, TaskRow] = {}
        for task, metrics in content.items():
            scores = _scores(task, metrics, path, skipped)
            if not scores:
                skipped.add(task, "no score")
                continue
            tasks[task] = task_row(task, scores[0].metric)
            settings = {name: config[name] for name in _ARGUMENTS if config.get(name) is not None}
            row = EvaluationRow(task_id=task, n_shot=0, settings={**settings, "source": path.name})
            add_evaluation(run, Evaluation(row, scores, [], tasks[task], _variant(config)), path.name, skipped)
        if not run.scores:
            raise DataError(f"{path}: not metrics of the BigCode harness (no task with a score)")
        return imported(self.name, [run], wanted, skipped, tasks, adds=True)


bigcode = BigCode(name="bigcode", title="BigCode harness metrics", priority=3)


def _is_generations(start: bytes) -> bool:
    """A list of lists of texts: what the harness saves with --save_generations."""
    return start[:1] == b"[" and start[1:].lstrip()[:1] == b"[" and start[1:].lstrip()[1:].lstrip()[:1] in (b'"', b"{")


def _found(config: Mapping[str, Any], path: Path) -> Found:
    model, adapter = str(config["model"]), config.get("peft_model")
    told, folder = model_facts(model, str(adapter) if adapter else None, path.parent)
    revision = config.get("revision")
    if not adapter and revision:
        told.add("the harness", revision=revision)
    return Found(
        label=path.name,
        identity=[model, adapter, revision],
        facts=told.facts,
        settings={"model": model, "peft_model": adapter, "revision": revision, **told.settings},
        source=told.source,
        place=str(folder or ""),
        joins=[str(adapter or model)],
    )


def _variant(config: Mapping[str, Any]) -> str:
    """What makes an evaluation another one than that of the whole task by the model as it is."""
    told = [(name, config.get(name)) for name in ("limit", "limit_start", "load_in_4bit", "load_in_8bit")]
    return ", ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                     for name, value in told if value)  # fmt: skip


def _scores(task: str, metrics: Any, path: Path, skipped: Skipped) -> list[Score]:
    if isinstance(metrics, int | float) and not isinstance(metrics, bool):
        metrics = {"score": metrics}
    if not isinstance(metrics, Mapping):
        raise DataError(f"{path}: {task}: metrics were expected, not {kind(metrics)}")
    scores = []
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            skipped.add(f"{task}, {name}", f"not a number ({value!r:.40})")
        else:
            scores.append(Score.told(task, name, float(value)))
    return scores
