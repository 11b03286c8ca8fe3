"""Which cells of a sweep have a run directory already, under whatever id, and which have one under other settings.

A run of before may have another id than the same cell has now: what decides an id has changed since. So run directories
are compared by what stands in their cell.json, read as it would be identified now.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from astraios.collect.plan.cell import Cell, decisive_of, run_id_of
from astraios.collect.plan.cell_plan import Plan
from astraios.data.packing import DataSpec
from astraios.errors import AstraiosError
from astraios.models.ladders import resolve
from astraios.models.weights import changed_at
from astraios.runs.directory import RunDirectory
from astraios.runs.identity import later_defaults
from astraios.train.loop import TrainSpec

MOST_DIFFERENCES = 3
"""A run with more settings that differ is another experiment, not the same cell under other settings."""


@dataclass(frozen=True)
class Found:
    """A run directory, and what decides its numbers."""

    name: str
    decisive: Mapping[str, Any]
    named: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """As a cell has it."""

    @property
    def run_id(self) -> str:
        """As it would be now."""
        return run_id_of(self.decisive)

    @property
    def named_id(self) -> str:
        """As it would be where nobody can tell which commits its names stand for."""
        return run_id_of({**self.decisive, **self.named})


@dataclass(frozen=True)
class Difference:
    """A setting in which a run that exists differs from a cell."""

    setting: str
    here: Any
    there: Any


@dataclass(frozen=True)
class Near:
    """The run that is most like a cell."""

    run_id: str
    differences: tuple[Difference, ...]


def found_in(out: Path) -> list[Found]:
    """The run directories of a folder whose cell.json this astraios can read; ten thousand take some seconds."""
    try:
        with os.scandir(out) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError:
        return []
    bases = _Bases()
    found = []
    for name in names:
        try:
            content = json.loads((out / name / "cell.json").read_bytes())
            content.setdefault("weights", bases.weights_of(content["model_id"], out / name))
            found.append(Found(name, decisive_of(content), content.get("named") or {}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # No run directory, or garbage: its next attempt sets it aside.
            continue
    return found


class _Bases:
    """Hashes of local bases, for runs of before that do not say which weights they began with."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[str | None, float]] = {}

    def weights_of(self, model_id: str, directory: Path) -> str | None:
        """The hash of a local base that has not changed since the run began; None for any other."""
        if model_id not in self.held:
            self.held[model_id] = _weights_now(model_id)
        weights, changed = self.held[model_id]
        return weights if weights is not None and changed <= _began(directory) else None


def _weights_now(model_id: str) -> tuple[str | None, float]:
    try:
        ladder, rung = resolve(model_id)
        weights = ladder.weights(rung.model_id)
        return weights, changed_at(Path(rung.model_id)) if weights is not None else 0.0
    except (AstraiosError, OSError):
        return None, 0.0


def _began(directory: Path) -> float:
    """When the first attempt started, seconds since 1970; 0 where that is not known."""
    attempts = RunDirectory(directory).attempts()
    if not attempts or "started_at" not in attempts[0]:
        return 0.0
    return datetime.datetime.fromisoformat(attempts[0]["started_at"]).replace(tzinfo=datetime.UTC).timestamp()


def with_stored(plans: Sequence[Plan], out: Path, found: Sequence[Found] | None = None) -> list[Plan]:
    """Plans in which a cell that a run directory of before holds has the id of that directory.

    A directory under the cell's own id goes first, then one that is done. A run of before commits counted stands for
    whatever its names mean now; and where nobody can tell what they mean, so does any run of those names.

    Args:
        plans: cells of a sweep.
        out: folder of the run directories.
        found: what `found_in` gave, where that is at hand.
    """
    lacking = {p.cell.run_id for p in plans if not (out / p.cell.run_id / "cell.json").exists()}
    if not lacking:
        return list(plans)
    held: dict[str, set[str]] = {}
    named: dict[str, set[str]] = {}
    for one in found_in(out) if found is None else found:
        held.setdefault(one.run_id, set()).add(one.name)
        named.setdefault(one.named_id, set()).add(one.name)

    def stored(cell: Cell) -> Cell:
        if cell.run_id not in lacking:
            return cell
        names = held.get(cell.run_id) or held.get(cell.named_id) or named.get(cell.run_id) or ()
        best = min(names, key=lambda name: (not _is_done(out / name), name), default=None)
        return cell if best is None else dataclasses.replace(cell, stored_as=best)

    return [dataclasses.replace(p, cell=stored(p.cell)) for p in plans]


def _is_done(path: Path) -> bool:
    try:
        return RunDirectory(path).is_done(())
    except (AstraiosError, KeyError, TypeError):
        return False


def nearest(cells: Sequence[Cell], found: Sequence[Found]) -> dict[str, Near]:
    """For each cell the run of the same base, method and seed that differs in the fewest settings, at most three.

    Args:
        cells: those that have no run directory.
        found: runs that no cell of the sweep stands for.
    """
    there: dict[tuple[Any, ...], list[tuple[str, dict[str, str]]]] = {}
    for one in found:
        there.setdefault(_group(one.decisive), []).append((one.name, _flat(one.decisive)))
    here: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        here.setdefault(_group(cell.decisive), []).append(cell)
    near: dict[str, Near] = {}
    for group, asked in here.items():
        if group in there:
            near |= _nearest(asked, there[group])
    return near


def _group(decisive: Mapping[str, Any]) -> tuple[Any, ...]:
    return decisive.get("model_id") or decisive["weights"], decisive["method_id"], decisive["seed"]


def _nearest(cells: Sequence[Cell], there: Sequence[tuple[str, dict[str, str]]]) -> dict[str, Near]:
    here = [_flat(cell.decisive) for cell in cells]
    rows = [*here, *(facts for _, facts in there)]
    varying = [name for name in dict.fromkeys(n for row in rows for n in row) if len({r.get(name) for r in rows}) > 1]
    codes = np.array([_codes([row.get(name) for row in rows]) for name in varying]).reshape(len(varying), len(rows)).T
    ours, theirs = codes[: len(here)], codes[len(here) :]
    near = {}
    for cell, facts, code in zip(cells, here, ours, strict=True):
        counts = (theirs != code).sum(axis=1)
        best = int(counts.argmin())
        if 0 < counts[best] <= MOST_DIFFERENCES:
            name, other = there[best]
            differ = [n for n in varying if facts.get(n) != other.get(n)]
            told = tuple(Difference(n, _plain(facts.get(n)), _plain(other.get(n))) for n in differ)
            near[cell.run_id] = Near(name, told)
    return near


def _codes(values: Iterable[str | None]) -> list[int]:
    numbers: dict[str | None, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def _plain(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _flat(decisive: Mapping[str, Any]) -> dict[str, str]:
    """Settings by the name that the sweep's file has for them (train.steps, method.lora.rank), values as JSON."""
    data, method = dict(decisive["data"]), decisive["method_id"]
    options = data.pop("options", {})
    tables = {
        "data": {**later_defaults(DataSpec), **data, **options, "content": decisive["data_identity"][:12]},
        "train": {**later_defaults(TrainSpec), **decisive["train"]},
        f"method.{method}": decisive["settings"],
        "compute": {name: decisive[name] for name in ("threads", "trust_remote_code")},
        "model": {"revision": decisive["revision"]},
    }
    return {f"{table}.{name}": json.dumps(value) for table, values in tables.items() for name, value in values.items()}
