"""What may be set, and the one check of it: type, range, choices, and the nearest known name.

A dataclass says what its fields may hold where it defines them, as data: `steps: int = setting(200, minimum=1)`. Tables
of a sweep, launchers' tables, tasks' options and tuning methods' settings are all checked by what is here.

>>> @dataclasses.dataclass(frozen=True)
... class Oven:
...     degrees: int = setting(200, minimum=50, maximum=300, unit="degrees C")
>>> build(Oven, {"degrees": 180}, "[oven] ")
Oven(degrees=180)
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from astraios.errors import UsageError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What one setting may hold."""

    kind: str = "Any"
    """int, whole (3.0 too), float, str, bool, Path, Mapping, modules (a list of names or a regular expression), floats
    (a list of numbers), or Any."""
    optional: bool = False
    """Whether None is a value."""
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """Texts that are values too, of a setting that holds no text otherwise ("auto" in place of a number)."""
    count: int | None = None
    """Length of a list of numbers, where it is fixed."""
    unit: str = ""

    @property
    def is_list(self) -> bool:
        """Whether one value is a list itself: several are then a list of lists."""
        return self.kind in ("floats", "modules")

    def values(self, value: Any) -> tuple[Any, ...] | None:
        """The values that a list asks for, in its order; None where what is given is one value.

        >>> Rule(kind="int").values([4, 16]), Rule(kind="int").values(4)
        ((4, 16), None)
        >>> Rule(kind="modules").values(["q", "v"]), Rule(kind="modules").values([["q"], ["q", "v"]])
        (None, (['q'], ['q', 'v']))
        """
        if not isinstance(value, list) or (self.is_list and not any(isinstance(one, list) for one in value)):
            return None
        return tuple(value)

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, as the end of a line; None where nothing is."""
        if value is None:
            return None if self.optional else f"must be {_WORDS.get(self.kind, 'given')}"
        if isinstance(value, str) and value in self.words:
            return None
        if self.kind in _FITS and not _FITS[self.kind](value):
            return " or ".join([f"must be {_WORDS[self.kind]}", *map(repr, self.words)])
        if self.count is not None and len(value) != self.count:
            return f"must be a list of {self.count} numbers"
        if self.choices and value not in self.choices:
            return did_you_mean(str(value), self.choices)
        numbers = value if self.kind == "floats" else [value] if _is_number(value) else []
        return None if all(self._holds(number) for number in numbers) else f"must be {self._range()}"

    def _holds(self, number: float) -> bool:
        return (
            math.isfinite(number)
            and (self.minimum is None or number >= self.minimum)
            and (self.above is None or number > self.above)
            and (self.maximum is None or number <= self.maximum)
            and (self.below is None or number < self.below)
        )

    def _range(self) -> str:
        """For instance "at least 0 and below 1"."""
        ends = [("at least", self.minimum), ("above", self.above), ("at most", self.maximum), ("below", self.below)]
        said = " and ".join(f"{word} {end:g}" for word, end in ends if end is not None)
        return said or "a finite number"


def setting(default: Any = dataclasses.MISSING, *, later: bool = False, counts: bool = True, **rule: Any) -> Any:
    """A field of a dataclass of settings.

    Args:
        default: its default.
        later: whether the field came after runs were identified without it (`runs.identity`).
        counts: whether a number depends on it; what does not count is no part of a run's identity, and no axis.
        rule: fields of `Rule` that its type does not say: minimum, above, maximum, below, choices, words, unit.
    """
    return dataclasses.field(default=default, metadata={"rule": rule, "later": later, "counts": counts})


_RULES: dict[type, dict[str, Rule]] = {}


def rules_of(kind: type) -> dict[str, Rule]:
    """A rule for each field of a dataclass, from its type and what `setting` adds."""
    if kind not in _RULES:
        _RULES[kind] = {
            f.name: dataclasses.replace(rule_of_type(f.type), **f.metadata.get("rule", {}))
            for f in dataclasses.fields(kind)
        }
    return _RULES[kind]


def rule_of_type(annotation: Any) -> Rule:
    """The rule that a type says: int, float, str, bool, Path, a mapping or a tuple of floats, and each `| None`."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    plain = text.removesuffix(" | None")
    kind = plain.split("[")[0]
    if plain.startswith("tuple[float"):
        count = None if "..." in plain else plain.count("float")
        return Rule(kind="floats", optional=plain != text, count=count)
    return Rule(kind=kind if kind in _FITS else "Any", optional=plain != text)


def check(
    rules: Mapping[str, Rule],
    values: Mapping[str, Any],
    prefix: str,
    *,
    besides: Iterable[str] = (),
    unknown: str | None = None,
) -> None:
    """Refuses values that are not what they should be.

    Args:
        rules: what may be set.
        values: what was set.
        prefix: what stands before a name in an error, for instance "[train] ".
        besides: other names that a wrong one may have meant.
        unknown: how an error about a name that is not known begins; by default the prefix and "unknown field".

    Raises:
        UsageError: an unknown name, or a value of the wrong type or out of range; the line says which.
    """
    for name, value in values.items():
        if name not in rules:
            start = f"{prefix}unknown field" if unknown is None else unknown
            raise UsageError(f"{start} {name!r}: {did_you_mean(name, [*besides, *rules])}")
        problem = rules[name].problem(value)
        if problem:
            raise UsageError(f"{prefix}{name} = {value!r}: {problem}")


def split_axes(
    rules: Mapping[str, Rule], table: Mapping[str, Any], prefix: str, fixed: Iterable[str] = ()
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """A table in which a list stands for several values: with the first of each, and all of them by name.

    Args:
        rules: what may be set.
        table: values by name; names without a rule pass as they are.
        prefix: as in `check`.
        fixed: names that take one value alone, because nothing depends on them.

    Raises:
        UsageError: an empty list, the same value twice, a wrong value, or several of a fixed name.
    """
    axes: dict[str, tuple[Any, ...]] = {}
    for name, value in table.items():
        values = rules[name].values(value) if name in rules else None
        if values is None:
            continue
        if not values:
            raise UsageError(f"{prefix}{name} = []: give a value, or a list of some")
        for one in values:
            check(rules, {name: one}, prefix)
        plain = [as_setting(rules[name], one) for one in values]
        if any(one in plain[:number] for number, one in enumerate(plain)):
            raise UsageError(f"{prefix}{name} = {value!r}: names the same value twice")
        if name in fixed and len(plain) > 1:
            raise UsageError(f"{prefix}{name} = {value!r}: no number depends on it, so give one value")
        axes[name] = tuple(plain)
    return {**table, **{name: values[0] for name, values in axes.items()}}, axes


def check_fields(settings: Any, prefix: str) -> None:
    """Refuses an instance of a dataclass of settings whose values are out of range: for `__post_init__`."""
    check(rules_of(type(settings)), vars(settings), prefix)


def build(kind: type[T], table: Any, prefix: str, *, besides: Iterable[str] = ()) -> T:
    """An instance of a dataclass of settings from a table of TOML, of options or of keywords.

    Args:
        kind: the dataclass.
        table: values by name; lists become tuples, texts paths where the field is one.
        prefix: as in `check`; also how an error calls the table.
        besides: as in `check`.

    Raises:
        UsageError: as `check` does; or the table is none.
    """
    require_table(table, prefix)
    rules = rules_of(kind)
    check(rules, table, prefix, besides=besides)
    return kind(**{name: as_setting(rules[name], value) for name, value in table.items()})


def pairs(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Values by name from texts NAME=VALUE, as a command takes them: numbers, true, false, else words.

    Args:
        texts: for instance "language_level=8".
        option: how an error calls them, for instance "--set".

    Raises:
        UsageError: one without a name or an equals sign.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {text!r}: write NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def require_table(table: Any, prefix: str) -> Mapping[str, Any]:
    """The table; refuses what is none.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"{prefix.strip().rstrip('.') or 'this'} must be a table")
    return table


def as_setting(rule: Rule, value: Any) -> Any:
    """A value of TOML or JSON, already checked, as a setting holds it: texts as paths, 1e6 as a whole number where one
    is asked for, 0 as a fraction where one is, lists of numbers as tuples of them.
    """
    if value is None or (isinstance(value, str) and value in rule.words):
        return value
    if rule.kind == "Path":
        return Path(value)
    if rule.kind == "whole":
        return int(value)
    if rule.kind == "float":
        return float(value)
    if rule.kind == "floats":
        return tuple(map(float, value))
    return tuple(value) if isinstance(value, list) and rule.kind != "modules" else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_number, value))


def _are_modules(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(one, str) for one in value))


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "int": _is_whole,
    "whole": lambda value: _is_number(value) and math.isfinite(value) and value == int(value),
    "float": _is_number,
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "Path": lambda value: isinstance(value, str | Path),
    "Mapping": lambda value: isinstance(value, Mapping),
    "floats": _are_numbers,
    "modules": _are_modules,
}
_WORDS = {
    "int": "of type int",
    "whole": "a whole number",
    "float": "of type float",
    "str": "of type str",
    "bool": "of type bool",
    "Path": "a path",
    "Mapping": "a table",
    "floats": "a list of numbers",
    "modules": "a list of names of modules, or a regular expression",
}
