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
        shared = {name: value for name, value in table["task"].items() if not isinstance(value, Mapping)}
        own = {name: _of_task(name, value, folder) for name, value in table["task"].items() if name not in shared}
        found["task"] = {**_with_paths(shared, _path_options(EvaluateOptions), folder), **own}
    if isinstance(table.get("models"), list):
        found["models"] = [_base(one, folder) if isinstance(one, str) else one for one in table["models"]]
    return found


def _of_task(name: str, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    from astraios.evaluate.tasks import TASKS

    task_id = name.partition("@")[0]
    own = _path_options(TASKS.get(task_id).own_options) if task_id in TASKS else []
    return _with_paths(options, [*_path_options(EvaluateOptions), *own], folder)


def _path_options(kind: type) -> list[str]:
    return [option for option, rule in rules_of(kind).items() if rule.kind == "Path"]


def _with_paths(table: Mapping[str, Any], names: Collection[str], folder: Path) -> dict[str, Any]:
    def of(value: Any) -> Any:
        if isinstance(value, list):
            return [of(one) for one in value]
        return str(folder / value) if isinstance(value, str) else value

    return {name: of(value) if name in names else value for name, value in table.items()}


def _base(model_id: str, folder: Path) -> str:
    """A base model in a folder beside the file, by its path; any other, a hub id for instance, as it is."""
    return str(folder / model_id) if (folder / model_id / "config.json").is_file() else model_id
