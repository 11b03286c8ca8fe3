"""Axes of a sweep: what lists of values make, which cells a filter keeps, and what tells cells apart in a label."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from astraios.errors import UsageError, did_you_mean
from astraios.runs.identity import decides

if TYPE_CHECKING:
    from astraios.collect.plan.cell import Cell
    from astraios.data.packing import DataSpec
    from astraios.train.loop import TrainSpec

_NAMED = ("model_id", "method_id", "seed")
"""What a label names in any case."""


def combinations(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """One value of each axis, in every combination, the last axis fastest; one empty one of no axes.

    >>> list(combinations({"rank": [2, 8], "steps": [50]}))
    [{'rank': 2, 'steps': 50}, {'rank': 8, 'steps': 50}]
    """
    return (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))


def facts_of_cell(cell: Cell) -> dict[str, Any]:
    """What may differ between the cells of a sweep, by the name that the sweep's file has for it."""
    tables: list[TrainSpec | DataSpec] = [cell.train, cell.data]
    fields = {f.name: getattr(table, f.name) for table in tables for f in dataclasses.fields(table) if decides(f)}
    options = fields.pop("options")
    named = {name: getattr(cell, name) for name in _NAMED}
    return {**named, **fields, **options, **cell.settings}


def axes_of(cells: Iterable[Cell]) -> dict[str, list[str]]:
    """Names of what differs between the cells of a method, beside base and seed; by method."""
    values: dict[str, dict[str, set[str]]] = {}
    for cell in cells:
        of_method = values.setdefault(cell.method_id, {})
        for name, value in facts_of_cell(cell).items():
            of_method.setdefault(name, set()).add(json.dumps(value))
    return {
        method_id: [name for name, found in of_method.items() if name not in _NAMED and len(found) > 1]
        for method_id, of_method in values.items()
    }


def label(cell: Cell, axes: Mapping[str, Sequence[str]]) -> str:
    """A cell in words: base, method, seed, and what differs (`axes_of`)."""
    facts = facts_of_cell(cell)
    told = [f"{name} {shown(facts[name])}" for name in axes.get(cell.method_id, ())]
    return " ".join([cell.model_id, cell.method_id, f"seed {cell.seed}", *told])


def shown(value: Any) -> str:
    """A value as people read it.

    >>> shown(0.001), shown(1000000), shown(["q", "v"]), shown(None)
    ('0.001', '1000000', 'q,v', 'unset')
    """
    if value is None:
        return "unset"
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(shown, value)) if isinstance(value, list | tuple) else str(value)


def only_cells(cells: Sequence[Cell], only: Iterable[str]) -> list[Cell]:
    """The cells that KEY=VALUE filters leave: values of one key add up, keys narrow down.

    A cell whose method has no such setting is left out.

    Raises:
        UsageError: a filter that makes no sense, or a key that no cell has.
    """
    wanted: dict[str, list[str]] = {}
    for item in only:
        key, found, value = item.partition("=")
        if not found or not key:
            raise UsageError(f"--only {item!r}: write KEY=VALUE, for instance method_id=lora")
        wanted.setdefault(key, []).append(value)
    if not wanted:
        return list(cells)
    facts = [facts_of_cell(cell) for cell in cells]
    for key, texts in wanted.items():
        values = [of_one[key] for of_one in facts if key in of_one]
        if not values:
            known = dict.fromkeys(name for of_one in facts for name in of_one)
            raise UsageError(f"--only {key}={texts[0]}: write KEY=VALUE; no key {key!r}: {did_you_mean(key, known)}")
        allowed = [_read(key, text, values) for text in texts]
        kept = [(cell, of_one) for cell, of_one in zip(cells, facts, strict=True) if of_one.get(key, ()) in allowed]
        cells, facts = [cell for cell, _ in kept], [of_one for _, of_one in kept]
        if not cells:
            break
    return list(cells)


def _read(key: str, text: str, values: Sequence[Any]) -> Any:
    """The value that a text means for a fact with such values."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, str) for value in known):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if known and all(isinstance(one, int | float) and not isinstance(one, bool) for one in known) and value == text:
        raise UsageError(f"--only {key}={text}: {text!r} is no number")
    return tuple(value) if isinstance(value, list) and any(isinstance(one, tuple) for one in known) else value
