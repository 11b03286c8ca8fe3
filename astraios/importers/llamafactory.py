"""LLaMA-Factory: trainer_log.jsonl, a line each time that its trainer logs, and the output folder that it lies in.

`eval_loss` is the test split, `loss` that of the training steps. Where the Trainer's own state lies beside it, the
folder is imported as the Trainer's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.importers import Imported, Importer, Wanted
from astraios.importers._curves import Series, fill
from astraios.importers._files import head, read_lines, walk
from astraios.importers._folders import folder_facts
from astraios.importers._runs import Found, Skipped, imported
from astraios.records import TaskRow

LOG = "trainer_log.jsonl"
_BESIDE = ("current_steps", "total_steps", "epoch", "percentage", "elapsed_time", "remaining_time", "lr",
           "learning_rate", "throughput", "total_tokens")  # fmt: skip


@dataclass(frozen=True)
class LlamaFactory(Importer):
    """A log, or a folder of output folders."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(walk(path, LOG)) if path.is_dir() else _looks_right(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for file in walk(path, LOG) if path.is_dir() else [path]:
            with skipped.item(file):
                rows = [row for _, row in read_lines(file)]
                run = _found(file, path, rows)
                tasks |= fill(run, _series(rows), wanted, skipped)
                if run.losses is not None and not len(run.losses):
                    skipped.add(file.name, "it logged no loss")
                    continue
                found.append(run)
        return imported(self.name, found, wanted, skipped, tasks)


llamafactory = LlamaFactory(name="llamafactory", title="LLaMA-Factory log", priority=2, maps=True)


def _looks_right(path: Path) -> bool:
    line = head(path, 4096).partition(b"\n")[0]
    return path.name.endswith(".jsonl") and b'"current_steps"' in line and b'"total_steps"' in line


def _found(file: Path, source: Path, rows: list[dict[str, Any]]) -> Found:
    told = folder_facts(file.parent)
    rates = [rate for row in rows if isinstance(rate := row.get("lr", row.get("learning_rate")), float)]
    told.add("the highest that was logged", learning_rate=max(rates, default=None))
    steps = [row["current_steps"] for row in rows if isinstance(row.get("current_steps"), int)]
    tokens = [row["total_tokens"] for row in rows if isinstance(row.get("total_tokens"), int)]
    told.add(LOG, steps=max(steps, default=None), n_tokens=max(tokens, default=None))
    inside = source.is_dir() and file.parent != source
    return Found(
        label=str(file.parent.relative_to(source)) if inside else file.parent.name,
        identity=[told.facts.get("method_id"), told.facts.get("seed"), _losses(rows)],
        facts=told.facts,
        settings=told.settings,
        source=told.source,
        place=str(file.parent),
    )


def _losses(rows: list[dict[str, Any]]) -> list[Any]:
    return [[row.get("current_steps"), row.get("loss"), row.get("eval_loss")] for row in rows]


def _series(rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> list[Series]:
    series: dict[str, tuple[list[Any], list[float | None]]] = {}
    for row in rows:
        for name, value in row.items():
            if name in _BESIDE and name != "total_tokens":
                continue
            if isinstance(value, int | float) and not isinstance(value, bool):
                steps, values = series.setdefault(name, ([], []))
                steps.append(row.get("current_steps"))
                values.append(float(value))
    return [Series(name, steps, values) for name, (steps, values) in series.items()]
