"""What of a table of the sweep is part of a run's identity.

A field says two things of itself where it is defined (`settings.setting`): that it came `later` than runs that are
identified without it, and that no number depends on it (`counts=False`: how often one evaluates, say).
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

from astraios.settings import rules_of


def asked(spec: Any) -> dict[str, Any]:
    """What is recorded of a table, as JSON types: its fields without those that came later and are at their default."""
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(spec)))
    for field in dataclasses.fields(spec):
        if field.metadata.get("later") and getattr(spec, field.name) == field.default:
            del content[field.name]
    return content


def decisive(kind: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """What of a table decides numbers, so that tables that ask for the same numbers give the same.

    Fields on which no number depends stand at their default, those that came later are left out at theirs, and a whole
    number of a field of fractions is a fraction (0 is 0.0).

    Args:
        kind: the table's dataclass.
        table: its fields as JSON types, as this or an earlier astraios wrote them.

    Raises:
        ValueError: a field is missing, or one is not known.
    """
    known = _fields(kind)
    if table.keys() - known.keys():
        raise ValueError(f"unknown fields {sorted(table.keys() - known.keys())}")
    content = {}
    for name, (later, counts, is_float, default) in known.items():
        if name not in table and not later:
            raise ValueError(f"no field {name}")
        value = table.get(name, default) if counts else default
        if not (later and value == default):
            content[name] = float(value) if is_float and value is not None else value
    return content


def decides(field: dataclasses.Field[Any]) -> bool:
    """Whether a number depends on a field."""
    return bool(field.metadata.get("counts", True))


def later_defaults(kind: type) -> dict[str, Any]:
    """What a run that does not name them has of the fields that came later."""
    return {name: default for name, (later, _, _, default) in _fields(kind).items() if later}


@functools.cache
def _fields(kind: type) -> dict[str, tuple[bool, bool, bool, Any]]:
    """Of each field: whether it came later, whether it counts, whether it holds a fraction, its default."""
    rules = rules_of(kind)
    return {
        f.name: (
            f.metadata.get("later", False),
            decides(f),
            rules[f.name].kind == "float",
            None if f.default is dataclasses.MISSING else f.default,
        )
        for f in dataclasses.fields(kind)
    }
