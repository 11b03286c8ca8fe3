"""A sweep's TOML as a JSON Schema (2020-12), for editors: from the same rules that check a sweep when it is read."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from astraios.collect.plan.compute import ComputeSpec, KeepSpec
from astraios.collect.plan.extends import built_in_sweeps
from astraios.collect.plan.job import STAGES
from astraios.collect.plan.sweep import NO_AXES, Sweep
from astraios.data.packing import DataSpec
from astraios.settings import Rule, rule_of_type, rules_of
from astraios.train.loop import TrainSpec

_TYPES: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "whole": {"type": "number", "multipleOf": 1},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "Path": {"type": "string"},
    "Mapping": {"type": "object"},
    "list": {"type": "array"},
}
_LIMITS = {"minimum": "minimum", "above": "exclusiveMinimum", "maximum": "maximum", "below": "exclusiveMaximum"}
_FIELDS = {
    "name": {"type": "string"},
    "description": {"type": "string"},
    "seeds": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True},
}


def sweep_schema() -> dict[str, Any]:
    """The schema of a sweep's file, with every method, task, source and launcher that is installed."""
    from astraios.collect.launch import LAUNCHERS
    from astraios.data.sources import SOURCES
    from astraios.evaluate.tasks import TASKS
    from astraios.models.ladders import LADDERS
    from astraios.models.methods import METHODS

    entries = {name: task for task in TASKS for name in _entries(task)}
    tasks = {"type": "array", "items": {"enum": list(entries)}, "uniqueItems": True}
    models = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
    about = field_texts(Sweep)
    fields: dict[str, Any] = {
        **_FIELDS,
        "models": {"oneOf": [{"enum": LADDERS.names()}, models]},
        "methods": {"type": "array", "items": {"enum": METHODS.names()}, "minItems": 1, "uniqueItems": True},
        "tasks": tasks,
        "data": _data(SOURCES),
        "train": _closed(_settings(TrainSpec, lists=True)),
        "compute": _closed(_settings(ComputeSpec)),
        "keep": _closed(_settings(KeepSpec)),
        "method": _closed({method.name: _method(method) for method in METHODS}),
        "task": _closed({**_shared(TASKS), **{name: _task(task) for name, task in entries.items()}}),
        "launch": _closed({launcher.name: _launcher(launcher) for launcher in LAUNCHERS}),
        "model": {
            **_tables({"revision": {"type": "string"}}, "its revision"),
            "description": "Per base model of the hub: the branch, tag or commit that is taken.",
        },
        "composite": _tables({"tasks": {"type": "array", "items": {"type": "string"}}}, "its tasks"),
    }
    described = {name: {"description": about[name], **one} if name in about else one for name, one in fields.items()}
    extends = {
        "type": "string",
        "description": "The sweep that this one changes: a built-in one or a file.",
        "examples": sorted(built_in_sweeps()),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sweep of astraios",
        **_closed({"extends": extends, **described}),
        "anyOf": [{"required": ["extends"]}, {"required": ["name", "models", "methods"]}],
    }


def _data(sources: Iterable[Any]) -> dict[str, Any]:
    """[data]: its own fields, and those of the source that it names."""
    own = {name: one for name, one in _settings(DataSpec, lists=True).items() if name not in ("options", "source")}
    taken = {source.name: source for source in sources}
    options = {
        name: _value(rule_of_type(kind), lists=True) for one in taken.values() for name, kind in one.options.items()
    }
    cases = [
        {
            "if": {"properties": {"source": {"const": name}}, "required": ["source"]},
            "then": {"propertyNames": {"enum": ["source", *own, *source.options]}},
        }
        for name, source in taken.items()
    ]
    # A sweep that extends another may leave the source to it: any source's options may stand then.
    source_of = {"enum": sorted(taken), "description": field_texts(DataSpec)["source"]}
    return {**_closed({"source": source_of, **own, **options}), "allOf": cases}


def _method(method: Any) -> dict[str, Any]:
    """[method.NAME]: its settings and fields of [train], and tables of the same named like a base model."""
    own = {name: _value(rule, lists=True) for name, rule in method.rules.items()}
    fields = {**_settings(TrainSpec, lists=True), **own}
    named = {**_closed(fields), "description": "For the cells of this base model alone."}
    return {"type": "object", "description": method.title, "properties": fields, "additionalProperties": named}


def _entries(task: Any) -> list[str]:
    """How `tasks` may name a task: "devign@1" asks with one demonstration."""
    shots = rules_of(task.own_options).get("n_shot")
    most = int(shots.maximum) if shots and shots.maximum else 0
    return [task.name, *(f"{task.name}@{n}" for n in range(1, most + 1))]


def _task(task: Any) -> dict[str, Any]:
    return {**_closed({**_of_all_tasks(), **_settings(task.own_options)}), "description": task.title}


def _shared(tasks: Iterable[Any]) -> dict[str, Any]:
    """What [task] itself may say, for all tasks that take it."""
    own = {name: one for task in tasks for name, one in _settings(task.own_options).items()}
    return {**own, **_of_all_tasks()}


def _of_all_tasks() -> dict[str, Any]:
    from astraios.evaluate.options import PLACED, EvaluateOptions

    return {name: one for name, one in _settings(EvaluateOptions).items() if name not in PLACED}


def _launcher(launcher: Any) -> dict[str, Any]:
    fields = _settings(launcher.settings)
    return _closed({**fields, **{stage: _closed(fields) for stage in STAGES}})


def _tables(fields: Mapping[str, Any], what: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": _closed({**fields}), "description": f"By name: {what}."}


def _closed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(fields), "additionalProperties": False}


def _settings(kind: type, lists: bool = False) -> dict[str, Any]:
    """A schema for each field of a dataclass of settings.

    Args:
        kind: the dataclass.
        lists: whether a list stands for several values, of a field on which a number depends.
    """
    texts, fields = field_texts(kind), {}
    for name, rule in rules_of(kind).items():
        one = _value(rule, lists=lists and name not in NO_AXES)
        if name in texts:
            one["description"] = texts[name]
        fields[name] = one
    return fields


def _value(rule: Rule, lists: bool = False) -> dict[str, Any]:
    """What one setting may hold, or a list of several values of it."""
    limits = {theirs: getattr(rule, ours) for ours, theirs in _LIMITS.items() if getattr(rule, ours) is not None}
    one: dict[str, Any]
    if rule.kind == "floats":
        count = {} if rule.count is None else {"minItems": rule.count, "maxItems": rule.count}
        one = {"type": "array", "items": {"type": "number", **limits}, **count}
    elif rule.kind == "modules":
        one = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    else:
        one = {**_TYPES.get(rule.kind, {}), **limits}
    if rule.choices:
        one = {"enum": list(rule.choices)}
    if rule.words:
        one = {"anyOf": [one, {"enum": list(rule.words)}]}
    if not lists or not one:
        return one
    return {"anyOf": [one, {"type": "array", "items": dict(one), "minItems": 1, "uniqueItems": True}]}


@functools.cache
def field_texts(kind: type) -> dict[str, str]:
    """What stands below each field of a dataclass, of itself and of those that it comes from."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        try:
            [definition] = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        except (OSError, TypeError, SyntaxError):
            continue
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                value = text.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[field.target.id] = " ".join(value.value.split())
    return found
