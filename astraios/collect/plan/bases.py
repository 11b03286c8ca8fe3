"""The base models that a sweep names: a ladder or a list of them, and which revision of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astraios.errors import UsageError, did_you_mean
from astraios.settings import check, require_table, rule_of_type


@dataclass(frozen=True)
class Base:
    """A base model, and what tells its weights from others."""

    model_id: str
    revision: str | None
    weights: str | None
    named: Mapping[str, Any]
    """What the revision was before the hub told which commit it means."""

    @classmethod
    def of(cls, model_id: str) -> Base:
        """The base of that id, at the commit that its name on the hub means now.

        Raises:
            UsageError: no ladder knows it, or it has no such revision.
        """
        from astraios.models.ladders import resolve

        ladder, rung = resolve(model_id)
        revision = ladder.revision(model_id)
        named = {} if revision == rung.revision else {"revision": rung.revision}
        return cls(rung.model_id, revision, ladder.weights(rung.model_id), named)


def pinned(models: tuple[str, ...], table: Any) -> tuple[str, ...]:
    """Base models at the revisions that [model.NAME] tables give them.

    Raises:
        UsageError: a table names no base of the sweep, or one that has no revisions, or has one already.
    """
    from astraios.models.ladders import resolve

    require_table(table, "[model] ")
    known = {name: model_id for model_id in models for name in names_of(model_id)}
    found = {model_id: model_id for model_id in models}
    for name, own in table.items():
        prefix = f"[model.{name}] "
        check({"revision": rule_of_type("str")}, require_table(own, prefix), prefix)
        if name not in known:
            raise UsageError(f"{prefix}no base model of this sweep; {did_you_mean(name, known)}")
        ladder, rung = resolve(known[name])
        if "revision" in own:
            if rung.revision or not ladder.has_revisions(rung.model_id):
                why = f"it has revision {rung.revision} already" if rung.revision else "it does not come from the hub"
                raise UsageError(f"{prefix}revision = {own['revision']!r}: {why}")
            found[known[name]] = f"{rung.model_id}@{own['revision']}"
    return tuple(found.values())


def names_of(model_id: str) -> list[str]:
    """How a table may call a base model: by its short name, or its id."""
    from astraios.models.ladders import resolve

    _, rung = resolve(model_id)
    return list(dict.fromkeys(filter(None, (rung.name, rung.model_id, model_id))))


def expand_models(models: Any) -> tuple[str, ...]:
    """The ids of a sweep's base models: every rung of a ladder, or those of a list.

    Raises:
        UsageError: no such ladder, or no list of names.
    """
    from astraios.models.ladders import LADDERS

    if isinstance(models, str):
        return tuple(rung.model_id for rung in LADDERS.get(models).rungs())
    return list_of(str, models, "models")


def list_of(kind: type, value: Any, key: str) -> tuple[Any, ...]:
    """A list of a sweep's file, each value once; only `tasks` may be empty.

    Args:
        kind: of its values, str or int.
        value: what the file says.
        key: its field.

    Raises:
        UsageError: it is no such list.
    """
    if not isinstance(value, list) or not value or any(type(v) is not kind for v in value):
        if value == [] and key == "tasks":
            return ()
        raise UsageError(f"{key} must be a list of {'numbers' if kind is int else 'names'}")
    if len(set(value)) < len(value):
        raise UsageError(f"{key} names the same thing twice")
    return tuple(value)
