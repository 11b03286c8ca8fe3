"""Hugging Face's Trainer: a trainer_state.json, or output directories with their checkpoints and adapters, nested too.

The file names no run, no base and no size; an output directory does, where it holds weights or an adapter. Losses are
means a token in nats: `eval_loss` is the test split, `loss` that of the training steps since the last logging. The
directory's own state counts before checkpoints that an older run left there, unless a checkpoint goes on from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._curves import Series, fill
from astraios.importers._files import number, read_object, walk
from astraios.importers._folders import folder_facts
from astraios.importers._runs import Found, Skipped, imported, step_number
from astraios.records import TaskRow

STATE = "trainer_state.json"
_CHECKPOINT = re.compile(r"^checkpoint-\d+$")
_BESIDE = ("step", "epoch")
_TIMES = re.compile(r"_(runtime|per_second)$|^total_flos$")
_KEPT = ("epoch", "max_steps", "num_train_epochs", "train_batch_size", "best_metric", "best_global_step")


@dataclass(frozen=True)
class Trainer(Importer):
    """An output directory, one of its checkpoints, a folder of directories, or the file alone."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_states(path)) if path.is_dir() else path.name.endswith(STATE)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for home, states in (_runs(path) if path.is_dir() else {path: [path]}).items():
            label = home.name if home == path else str(home.relative_to(path))
            with skipped.item(label):
                run, log = _found(home, label, states, skipped)
                tasks |= fill(run, _series(log), wanted, skipped)
                found.append(run)
        return imported("trainer", found, wanted, skipped, tasks)


trainer = Trainer(name="trainer", title="Hugging Face Trainer", priority=5, maps=True)


def _states(folder: Path) -> list[Path]:
    return walk(folder, STATE)


def _runs(folder: Path) -> dict[Path, list[Path]]:
    """State files by the output directory that they belong to."""
    by_run: dict[Path, list[Path]] = {}
    for state in _states(folder):
        home = state.parent
        if _CHECKPOINT.match(home.name) and home != folder:
            home = home.parent
        by_run.setdefault(home, []).append(state)
    return by_run


@dataclass(frozen=True)
class _State:
    """One state file."""

    path: Path
    content: Mapping[str, Any]
    log: list[dict[str, Any]]

    @cached_property
    def losses(self) -> str:
        return repr([(e["step"], n, e[n]) for e in self.log for n in e if n.endswith("loss") and n != "train_loss"])

    def continues(self, other: _State) -> bool:
        """Whether the losses of the other are the first ones of this."""
        return self.losses.startswith(other.losses[:-1])


def _chosen(home: Path, states: list[_State], skipped: Skipped) -> _State:
    """The state that tells the run: the directory's own, or the furthest that goes on from it; else the newest."""
    own = next((one for one in states if one.path.parent == home), None)
    told = [one for one in states if own is None or one.continues(own)]
    best = max(told, key=lambda one: (one.content["global_step"], one is own, len(one.log)))
    if own is None and not all(best.continues(one) for one in states):
        newest = max(states, key=lambda one: (one.path.stat().st_mtime_ns, one.content["global_step"]))
        best = max((one for one in states if one.continues(newest)), key=lambda one: one.content["global_step"])
    for other in states:
        if other is not best and not best.continues(other):
            name = f"{home.name}/{other.path.parent.name}"
            skipped.add(name, f"another run's: its log is not the beginning of that of {best.path.parent.name}")
    return best


def _found(home: Path, label: str, paths: list[Path], skipped: Skipped) -> tuple[Found, list[dict[str, Any]]]:
    states = [state for path in paths for state in _readable(path, len(paths) > 1, skipped)]
    if not states:
        raise skipped.errors[-1]
    state = _chosen(home, states, skipped)
    content, log = state.content, state.log
    if not any(name.endswith("loss") for entry in log for name in entry):
        raise DataError(f"{state.path}: log_history holds no loss")
    folder = folder_facts(home if home.is_dir() else home.parent, state.path.parent)
    rates = [entry["learning_rate"] for entry in log if isinstance(entry.get("learning_rate"), float)]
    folder.add("the highest that was logged", learning_rate=max(rates, default=None))
    folder.add(
        STATE,
        steps=content["global_step"] or None,
        n_tokens=content.get("num_input_tokens_seen") or None,
        train_flops=content.get("total_flos") or None,
    )
    run = Found(
        label=label,
        identity=[folder.facts.get("method_id"), folder.facts.get("seed"), state.losses],
        facts=folder.facts,
        settings={"trainer": {name: content[name] for name in _KEPT if name in content}, **folder.settings},
        attempt={"wall_seconds": next((entry["train_runtime"] for entry in log if "train_runtime" in entry), None)},
        source=folder.source,
        place=str(home),
    )
    return run, log


def _readable(path: Path, others: bool, skipped: Skipped) -> list[_State]:
    """The state of a file; none where it is damaged and the run has others."""
    if not others:
        return [_state(path)]
    read = []
    with skipped.item(path):
        read.append(_state(path))
    return read


def _state(path: Path) -> _State:
    content = read_object(path)
    log = content.get("log_history")
    if not isinstance(log, list) or not isinstance(content.get("global_step"), int):
        raise DataError(f"{path}: not a Trainer's state (no log_history, or no global_step)")
    for place, entry in enumerate(log):
        where = f"{path}: log_history[{place}]"
        if not isinstance(entry, Mapping) or "step" not in entry:
            raise DataError(f"{where}: an object with a step was expected")
        losses = [name for name in entry if name.endswith("loss")]
        if losses:
            step_number(entry["step"], where)
        for name in losses:
            number(entry[name], where, name)
    return _State(path, content, log)


def _series(log: list[dict[str, Any]]) -> list[Series]:
    names = dict.fromkeys(name for entry in log for name in entry if name not in _BESIDE and not _TIMES.search(name))
    series = []
    for name in names:
        entries = [entry for entry in log if isinstance(entry.get(name), int | float | str)]
        if all(not isinstance(entry[name], str) or _is_number(entry[name]) for entry in entries):
            series.append(Series(name, [e["step"] for e in entries], [float(e[name]) for e in entries]))
    return series


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
