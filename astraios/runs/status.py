"""How the runs of a sweep stand, by their directories: fast enough to be asked every few seconds about ten thousand."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.runs.directory import CELL, LOSSES, MANIFEST, ROWS, RunDirectory
from astraios.runs.log import last_lines

STATES = ("waiting", "running", "interrupted", "failed", "done")
LATELY_S = 600.0
"""Where locks do not reach, a run that was written to within so many seconds is running."""
WINDOW_S = 3600.0
"""Throughput is that of the last hour."""


@dataclass(frozen=True)
class Standing:
    """One run."""

    run_id: str
    model_id: str
    method_id: str
    seed: int
    state: str = "waiting"
    """waiting, running, interrupted (started, and no process has it in hand), failed or done."""
    step: int | None = None
    steps: int | None = None
    attempt: int | None = None
    reason: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    train_flops: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """A row of `astraios status`."""
        names = ("run_id", "model_id", "method_id", "seed", "state", "step", "steps", "attempt", "reason")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Summary:
    """A sweep."""

    counts: Mapping[str, int]
    cells_per_hour: float | None
    """Cells that were finished, over the last hour or since the first one was started, where that is less."""
    hours_left: float | None
    """For those that wait, run or were interrupted, by their operations; None before anything has been finished."""


def standings(out: Path, wanted: Mapping[str, tuple[str, str, int]] | None = None) -> list[Standing]:
    """The runs of a folder, those of `wanted` first, in its order.

    Args:
        out: folder of the run directories.
        wanted: model, method and seed of each run_id that is asked for.
    """
    wanted = wanted or {}
    found = _folders(out)
    rows = [_standing(run_id, found.get(run_id), facts) for run_id, facts in wanted.items()]
    return rows + [_standing(run_id, found[run_id], None) for run_id in sorted(found) if run_id not in wanted]


def _folders(out: Path) -> dict[str, Path]:
    try:
        with os.scandir(out) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except FileNotFoundError:
        return {}
    return {name: out / name for name in names if any(os.path.exists(out / name / one) for one in (CELL, ROWS))}


def _standing(run_id: str, path: Path | None, wanted: tuple[str, str, int] | None) -> Standing:
    if path is None:
        assert wanted is not None
        return Standing(run_id, *wanted)
    try:
        rows = json.loads((path / MANIFEST).read_bytes())
        state, rows = rows["state"], rows["rows"]
        run, last = rows["run"], rows["attempts"][-1]
        facts: tuple[str, str, int] = wanted or (run["model_id"], run["method_id"], run["seed"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return _unfinished(run_id, path, wanted)
    if state == "failed":
        tries = RunDirectory(path).attempts()
        if tries and tries[-1]["state"] == "started":
            return _unfinished(run_id, path, wanted)
    step = run.get("steps") if state == "done" else last_step(path)
    return Standing(
        run_id,
        *facts,
        state,
        step,
        run.get("steps"),
        last.get("attempt"),
        last.get("error") if state == "failed" else None,
        last.get("started_at"),
        last.get("finished_at"),
        run.get("train_flops"),
    )


def _unfinished(run_id: str, path: Path, wanted: tuple[str, str, int] | None) -> Standing:
    """A run that was started and has no manifest of this try."""
    asked = _asked(path)
    wanted = wanted or asked[:3]
    tries = RunDirectory(path).attempts()
    state = "running" if in_hand(path / "lock") else "interrupted"
    attempt = tries[-1]["attempt"] if tries else None
    return Standing(run_id, *wanted, state, last_step(path), asked[3], attempt)


def _asked(path: Path) -> tuple[str, str, int, int | None]:
    """Model, method, seed and steps of a run that was started; of a logged one, as far as it has told them."""
    try:
        if os.path.exists(path / CELL):
            cell = json.loads((path / CELL).read_bytes())
            return cell["model_id"], cell["method_id"], cell["seed"], cell["train"]["steps"]
        run = json.loads((path / ROWS).read_bytes())["run"]
        return run["model_id"], run["method_id"], run["seed"], run["steps"]
    except (OSError, ValueError, KeyError, TypeError):
        return "?", "?", 0, None


def in_hand(lock: Path) -> bool:
    """Whether a process holds a run; where locks do not reach (object storage) whether it was written to lately."""
    try:
        with open(lock, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False
    except FileNotFoundError:
        newest = max((f.stat().st_mtime for f in lock.parent.glob("*.jsonl")), default=0.0)
        return datetime.datetime.now().timestamp() - newest < LATELY_S


def last_step(path: Path) -> int:
    """The last step whose loss was logged; only the end of the file is read."""
    try:
        tail = last_lines(path / LOSSES, 2048)
    except OSError:
        return 0
    for line in reversed(tail.splitlines()):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0


def summary(rows: Sequence[Standing], flops: Mapping[str, float], now: datetime.datetime | None = None) -> Summary:
    """Counts, throughput and the time left.

    Args:
        rows: as `standings` gave them.
        flops: estimated operations by run_id, where they are known.
        now: UTC, without offset.
    """
    now = now or datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    counts = dict.fromkeys(STATES, 0)
    for row in rows:
        counts[row.state] += 1
    lately = [row for row in rows if row.state == "done" and row.finished_at and _age(row.finished_at, now) <= WINDOW_S]
    left = [row for row in rows if row.state in ("waiting", "running", "interrupted")]
    if not lately:
        return Summary(counts, None, None if left else 0.0)
    span = min(WINDOW_S, max(1.0, *(_age(row.started_at or row.finished_at, now) for row in lately)))
    per_second = len(lately) / span
    known = [flops.get(row.run_id) or row.train_flops for row in lately]
    ahead = [(flops.get(row.run_id), _share_left(row)) for row in left]
    if all(known) and all(cost for cost, _ in ahead):
        seconds = _sum(cost * share for cost, share in ahead if cost) / (_sum(k for k in known if k) / span)
    else:
        seconds = _sum(share for _, share in ahead) / per_second
    return Summary(counts, per_second * 3600, seconds / 3600)


def _age(moment: str | None, now: datetime.datetime) -> float:
    """Seconds since then."""
    return (now - datetime.datetime.fromisoformat(moment)).total_seconds() if moment else 0.0


def _share_left(row: Standing) -> float:
    return 1 - (row.step or 0) / row.steps if row.steps else 1.0


def _sum(values: Iterable[float]) -> float:
    return float(sum(values))
