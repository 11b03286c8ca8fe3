"""Sweeps that build on others: what `extends` names, and the table that is laid over it."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from astraios.collect.plan.bases import expand_models, names_of
from astraios.collect.plan.paths import placed
from astraios.data.packing import DataSpec
from astraios.errors import UsageError, did_you_mean
from astraios.settings import rules_of


def built_in_sweeps() -> dict[str, str]:
    """TOML text of the sweeps that come with astraios, by name."""
    folder = resources.files("astraios") / "sweeps"
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    }


def extended(table: dict[str, Any], folder: Path, depth: int = 0) -> dict[str, Any]:
    """A table laid over the sweep that it `extends`, built in or another file: only what differs need be said.

    Args:
        table: a sweep's file.
        folder: what its paths are relative to.
        depth: sweeps that extend each other down to this one.

    Raises:
        UsageError: there is no such sweep, it can't be read, or sweeps extend each other in a circle.
    """
    table = placed(table, folder)
    if "extends" not in table:
        return table
    under, below = _extends(table["extends"], folder, depth)
    over = {key: value for key, value in table.items() if key != "extends"}
    return _laid_over(_fitting(extended(under, below, depth + 1), over), over)


def _fitting(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """A table without what it says of another data source, or of base models that the one laid over it leaves out."""
    found, data, source = dict(under), under.get("data"), _source(over)
    if isinstance(data, dict) and source is not None and source != data.get("source"):
        found["data"] = {key: value for key, value in data.items() if key in rules_of(DataSpec)}
    if isinstance(over.get("models"), str | list) and isinstance(under.get("method"), dict):
        names = {name for model_id in expand_models(over["models"]) for name in names_of(model_id)}
        found["method"] = {
            method: {key: value for key, value in table.items() if key in names or not isinstance(value, dict)}
            for method, table in under["method"].items()
        }
    return found


def _source(table: dict[str, Any]) -> Any:
    return table["data"].get("source") if isinstance(table.get("data"), dict) else None


def _extends(name: Any, folder: Path, depth: int) -> tuple[dict[str, Any], Path]:
    """The table that is extended, and what its paths are relative to."""
    built_in = built_in_sweeps()
    if depth > 8:
        raise UsageError(f"extends = {name!r}: sweeps extend each other in a circle")
    if name in built_in:
        return tomllib.loads(built_in[name]), folder
    file = folder / str(name)
    if not file.is_file():
        raise UsageError(f"extends = {name!r}: no built-in sweep and no file; {did_you_mean(str(name), built_in)}")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")), file.parent
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"extends = {name!r}: can't be read ({error})") from None


def _laid_over(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {key: value for key, value in under.items() if isinstance(value, dict) and isinstance(over.get(key), dict)}
    return {**under, **over, **{key: _laid_over(value, over[key]) for key, value in both.items()}}
