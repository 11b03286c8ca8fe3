"""Paths in a sweep's file: relative to that file, whatever folder the command runs in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from astraios.data.packing import LOCATIONS
from astraios.evaluate.options import EvaluateOptions
from astraios.settings import rules_of


def placed(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A sweep's table with its paths relative to where the command runs.

    Args:
        table: as TOML or the record of a run gave it; what is no table, or no path, stays for others to refuse.
        folder: of the file.
    """
    found = dict(table)
    if isinstance(table.get("data"), Mapping):
        found["data"] = _with_paths(table["data"], LOCATIONS, folder)
        if isinstance(table["data"].get("options"), Mapping):
            found["data"]["options"] = _with_paths(table["data"]["options"], LOCATIONS, folder)
    if isinstance(table.get("task"), Mapping):
        found["task"] = {name: _of_task(name, options, folder) for name, options in table["task"].items()}
    if isinstance(table.get("models"), list):
        found["models"] = [_base(one, folder) if isinstance(one, str) else one for one in table["models"]]
    return found


def _of_task(name: str, options: Any, folder: Path) -> Any:
    from astraios.evaluate.tasks import TASKS

    if not isinstance(options, Mapping):
        return options
    own = rules_of(TASKS.get(name).own_options) if name in TASKS else {}
    paths = [option for option, rule in {**rules_of(EvaluateOptions), **own}.items() if rule.kind == "Path"]
    return _with_paths(options, paths, folder)


def _with_paths(table: Mapping[str, Any], names: Collection[str], folder: Path) -> dict[str, Any]:
    def of(value: Any) -> Any:
        if isinstance(value, list):
            return [of(one) for one in value]
        return str(folder / value) if isinstance(value, str) else value

    return {name: of(value) if name in names else value for name, value in table.items()}


def _base(model_id: str, folder: Path) -> str:
    """A base model in a folder beside the file, by its path; any other, a hub id for instance, as it is."""
    return str(folder / model_id) if (folder / model_id / "config.json").is_file() else model_id
