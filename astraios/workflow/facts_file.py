"""Facts about many runs in one file: a CSV with a row a run, or a TOML of rules by name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from astraios.errors import DataError, UsageError

_BY = ("run_id", "id", "name", "run", "path")
"""Columns of the CSV by which a run is found."""
_COMMA = re.compile(r"^([+-]?\d+),(\d+(?:[eE][+-]?\d+)?\s*[kKmMbBgGtT]?)$")
"""A number with a decimal comma, and the letter of its size."""
_MOST_RULES = 100_000


def read_facts(path: Path, parse: Callable[[dict[str, str]], dict[str, Any]]) -> Facts:
    """The facts that a file says about runs.

    A CSV has a column `name` (or id, run, path) and one for each fact; a name is the run's id, its name, or the end of
    its path. A TOML has a table a rule: `["lora-*"]` with `method_id = "lora"`, a pattern of the name or the path; of
    several rules that fit, the later one counts, fact by fact.

    Args:
        path: the file.
        parse: facts as --set takes them, from texts by name.

    Raises:
        DataError: the file can't be read.
        UsageError: it names no run, or a fact that is none.
    """
    if path.suffix.lower() == ".toml":
        return _by_pattern(_toml(path, parse))
    return _by_name(_csv(path, parse))


def _toml(path: Path, parse: Callable[[dict[str, str]], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a TOML file that can be read ({error})") from None
    rules = {}
    for pattern, facts in content.items():
        if not isinstance(facts, Mapping):
            raise UsageError(f'{path}: {pattern}: write a table a rule: ["{pattern}"] and its facts below')
        rules[pattern] = parse({name: str(value) for name, value in facts.items()})
    return rules


def _csv(path: Path, parse: Callable[[dict[str, str]], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    from astraios.importers._table import read_table

    table = read_table(path)
    frame = table.frame
    by = next((name for name in frame.columns if name.lower() in _BY), None)
    if by is None:
        raise UsageError(f"{path}: no column says which run a row is about: call one of them name, id or path")
    rules: dict[str, dict[str, Any]] = {}
    for row in frame.head(_MOST_RULES).iter_rows(named=True):
        key = str(row.pop(by) or "")
        if key in rules:
            raise UsageError(f"{path}: two rows are about {key!r}")
        told = {name: str(value) for name, value in row.items() if value not in (None, "")}
        rules[key] = parse({name: _COMMA.sub(r"\1.\2", text) if table.comma else text for name, text in told.items()})
    return rules


@dataclass
class Facts:
    """Facts by run_id, label and place of a run, as `Wanted.facts` is called."""

    find: Callable[[str, str, str], list[str]]
    """The rules that a run comes under, in order."""
    rules: Mapping[str, Mapping[str, Any]]
    used: set[str] = field(default_factory=set)

    def __call__(self, run_id: str, label: str, place: str) -> Mapping[str, Any]:
        told: dict[str, Any] = {}
        for rule in self.find(run_id, label, place):
            self.used.add(rule)
            told |= self.rules[rule]
        return told

    def unused(self) -> list[str]:
        """Rules under which no run came so far."""
        return [rule for rule in self.rules if rule not in self.used]


def _by_pattern(rules: Mapping[str, Mapping[str, Any]]) -> Facts:
    def find(run_id: str, label: str, place: str) -> list[str]:
        names = (run_id, label, label.rpartition("/")[2], place)
        return [pattern for pattern in rules if any(fnmatchcase(name, pattern) for name in names)]

    return Facts(find, rules)


def _by_name(rules: Mapping[str, Mapping[str, Any]]) -> Facts:
    def find(run_id: str, label: str, place: str) -> list[str]:
        exact = next((name for name in (run_id, label, place) if name in rules), None)
        ends = [key for key in rules if key and (f"/{label}".endswith(f"/{key}") or place.endswith(f"/{key}"))]
        best = exact if exact is not None else max(ends, key=len, default=None)
        return [] if best is None else [best]

    return Facts(find, rules)
