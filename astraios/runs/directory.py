"""The run directory: the truth about one run, of which the database is an index.

    cell.json            what was asked, written first; a run that others start has rows.json instead
    attempts.jsonl       a line when an attempt starts or fails
    rows.json            of a run that others start: the rows that are known so far
    losses.jsonl         a line an evaluation, appended while training; a log may end in zero bytes while it grows
    points.jsonl         scores along training, a line each
    metrics.jsonl        what else was logged, a line a call
    checkpoint.pt        where an interrupted attempt goes on
    checkpoints/         weights along training, where the sweep keeps them
    trained.json         where training is a cell of its own: its cost and environment, written when it is over
    task-NAME.json       a task's result, each written whole
    adapter/             what was tuned
    losses.parquet, scores.parquet, samples.parquet, points.parquet, metrics.parquet
    manifest.json        written last: every row and the hash of every file; without it the run is not finished

Anybody may write run directories at once, on any machine; nothing here knows of a database.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from astraios.errors import StoreError, why
from astraios.files import write_all, write_atomically
from astraios.records import (
    TABLES,
    LossPoint,
    MetricPoint,
    SampleScore,
    Score,
    ScorePoint,
    Table,
    TaskResult,
    values,
)
from astraios.runs.log import Log, line_of, read_lines
from astraios.runs.logged import Logged, current_lines, loss_points, metric_points, score_points
from astraios.runs.mapped_log import MappedLog
from astraios.runs.parquet import parquet_bytes
from astraios.runs.rows import Ending, RunRows

MANIFEST = "manifest.json"
CELL, ROWS = "cell.json", "rows.json"
LOSSES, POINTS, METRICS = "losses.jsonl", "points.jsonl", "metrics.jsonl"
"""Logs that grow while a run trains."""
TRAINED = "trained.json"
GOES_ON = ("started", "done")
"""States of an attempt that is gone on with. Done without a manifest was stopped just before it was written; done with
one is scored on a new task."""
FORMAT = 1
"""Version of this layout."""
ASKED = "asked"
"""Where the settings of an evaluation say how it was asked (`Asked.told`)."""
PAUSE_S = 0.1
"""Losses of a fast model are written this often, not each by itself."""


def utc_now() -> str:
    """Now as ISO 8601 text, UTC, without offset (the database's timestamps carry none)."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Asked:
    """An evaluation that is wanted, or that was made: another number of samples or problems is another one."""

    task_id: str
    told: Mapping[str, Any] = field(default_factory=dict)
    """What a number depends on, beside the task's defaults."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Asked:
        """What a manifest's row of an evaluation is; of before this was written down, the task's defaults."""
        settings = row.get("settings") or {}
        told = json.loads(settings) if isinstance(settings, str) else settings
        return cls(row["task_id"], told.get(ASKED, {}))


class RunDirectory:
    """One run directory, for its writer and its readers.

    Args:
        path: the directory.
        pause: seconds between two writes of a log; at 0 what is appended is written at once.
        mapped: write logs at once, through mappings of their files.
    """

    def __init__(self, path: Path, pause: float = PAUSE_S, *, mapped: bool = False) -> None:
        self.path = path
        logs = [f"{path}/{name}" for name in (LOSSES, POINTS, METRICS)]
        self._losses, self._points, self._metrics = (MappedLog(log) if mapped else Log(log, pause) for log in logs)

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def kept_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def adapter_path(self) -> Path:
        return self.path / "adapter"

    def start(self, cell_json: str | None, facts: Mapping[str, Any] | None = None) -> tuple[int, str]:
        """Makes the directory and opens an attempt; an interrupted one goes on under its own number.

        Args:
            cell_json: what was asked; None of a run that others start, which `write_rows` describes.
            facts: to be kept of this attempt from now on.

        Returns:
            The number of the attempt and when it started.

        Raises:
            StoreError: the directory can't be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if cell_json is not None:
                # Written anew by whoever goes on, so it need not outlast the machine.
                write_atomically(f"{self.path}/{CELL}", cell_json.encode(), durable=False)
            entries = self.attempts()
            last: dict[str, Any] = entries[-1] if entries else {"attempt": 0}
            goes_on = last.get("state") in GOES_ON
            number, started = (last["attempt"], last["started_at"]) if goes_on else (last["attempt"] + 1, utc_now())
            if facts or not goes_on:
                entry = {"attempt": number, "state": "started", "started_at": started}
                self._append("attempts.jsonl", {**entry, **(facts or {})})
            return number, started
        except OSError as error:
            raise StoreError(
                f"run directory {self.path.name}: can't be written ({why(error)}); "
                "free some space or choose another --out"
            ) from None

    def attempts(self) -> list[dict[str, Any]]:
        """The attempts so far: the last line of each number."""
        return attempts_of(self._content("attempts.jsonl"))

    def append_loss(self, point: LossPoint) -> None:
        """Adds a loss: written at once, unless one was written within the last `pause`.

        What is still to be written goes out with the next loss or with `flush`, which comes before a checkpoint: what a
        kill may lose is trained, and logged, again.
        """
        if point.regularizer is None:
            rate = None if point.learning_rate is None else float(point.learning_rate)
            self.log_loss(point.split, point.step, point.n_tokens, float(point.loss_nats), rate)
        else:
            line = {name: value for name, value in asdict(point).items() if value is not None or name == "n_tokens"}
            self._losses.add(line_of(line, line["n_tokens"] is None))

    def log_loss(self, split: str, step: int, n_tokens: int | None, loss: float, rate: float | None) -> None:
        """As `append_loss`, of a loss that need not be made a record for it; finite or not."""
        line = {"split": split, "step": step, "n_tokens": n_tokens, "loss_nats": loss}
        if rate is not None:
            line["learning_rate"] = rate
        self._losses.add(line_of(line, n_tokens is None))

    @property
    def mapped_losses(self) -> MappedLog | None:
        """The log of losses where it is mapped: who knows that a line is what `log_loss` writes may put it there."""
        return self._losses if isinstance(self._losses, MappedLog) else None

    def append_point(self, point: ScorePoint) -> None:
        """Adds a score along training, as `append_loss` does a loss."""
        row = asdict(point)
        self._points.add(line_of(row, list(row.values()).count(None)))

    def append_metrics(self, step: int, n_tokens: int | None, values: Mapping[str, float]) -> None:
        """Adds numbers that are neither losses nor scores, as `append_loss` does a loss."""
        line = {"step": step, "n_tokens": n_tokens, "values": values}
        self._metrics.add(line_of(line, n_tokens is None))

    def mark_resumed(self) -> None:
        """What is logged from here on goes before what was logged of later steps, in a branch that was left."""
        for log in (self._losses, self._points, self._metrics):
            if log.path.exists():
                log.add(b'{"resumed": true}\n')

    def flush(self) -> None:
        """Writes what is still to be written."""
        for log in (self._losses, self._points, self._metrics):
            log.flush()

    def close(self) -> None:
        """Writes what is still to be written, and lets go of the logs."""
        for log in (self._losses, self._points, self._metrics):
            log.close()

    def losses(self) -> list[LossPoint]:
        """The losses so far; of a step logged twice (before and after an interruption) the last counts."""
        self.flush()
        return loss_points(self._content(LOSSES))

    def points(self) -> list[ScorePoint]:
        """The scores along training so far, the last of each step."""
        self.flush()
        return score_points(self._content(POINTS))

    def metrics(self) -> list[MetricPoint]:
        """What else was logged so far, the last of each step."""
        self.flush()
        return metric_points(self._content(METRICS))

    def last_step(self) -> int:
        """The last step that was logged; 0 where none was."""
        self.flush()
        logs = (current_lines(self._content(name)) for name in (LOSSES, POINTS, METRICS))
        return max((line["step"] for lines in logs for line in lines), default=0)

    def logged(self) -> Logged:
        """All that was logged so far."""
        return Logged(self.losses(), self.points(), self.metrics())

    def write_task(self, name: str, result: TaskResult, seconds: float) -> None:
        """Keeps the result of one task, under the name that it was asked by."""
        content = {"wall_seconds": seconds, **asdict(result)}
        write_atomically(self.path / f"task-{name}.json", json.dumps(content).encode())

    def task_names(self) -> list[str]:
        """Names under which results of tasks are kept."""
        return sorted(path.name[len("task-") : -len(".json")] for path in self.path.glob("task-*.json"))

    def read_task(self, name: str) -> tuple[TaskResult, float] | None:
        """The result of a task and the seconds it took, or None."""
        try:
            content = json.loads((self.path / f"task-{name}.json").read_text())
        except FileNotFoundError:
            return None
        seconds = content.pop("wall_seconds")
        content["scores"] = tuple(Score(**row) for row in content["scores"])
        content["samples"] = tuple(SampleScore(**row) for row in content["samples"])
        return TaskResult(**content), seconds

    def write_trained(self, record: dict[str, Any]) -> None:
        """Records that training is over, and what it cost; the state to go on from lies in the checkpoint."""
        self.flush()
        write_atomically(self.path / TRAINED, json.dumps(record).encode())

    def trained(self) -> dict[str, Any] | None:
        """What `write_trained` was given, while there is a checkpoint to go on from; else None."""
        try:
            record: dict[str, Any] = json.loads((self.path / TRAINED).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return record if self.checkpoint_path.is_file() and {"cost", "environment"} <= set(record) else None

    def is_trained(self) -> bool:
        """Whether there is nothing left to train: another process can go on with evaluation."""
        return self.trained() is not None or (self.is_done(()) and self.adapter_path.is_dir())

    def forget_checkpoint(self) -> None:
        """Deletes the checkpoint, once what it led to has been written."""
        self.checkpoint_path.unlink(missing_ok=True)

    def fail(self, rows: RunRows, ending: Ending) -> None:
        """Records that an attempt failed; the reason is in `ending`."""
        self.flush()
        self._append_ending(ending)
        self._write_manifest("failed", rows, {})

    def finish(
        self,
        rows: RunRows,
        ending: Ending,
        tasks: dict[str, tuple[TaskResult, float]],
        logged: Logged | None = None,
    ) -> None:
        """Writes what the database is to hold: Parquet first, the manifest last.

        Args:
            rows: what is known of the run.
            ending: of the attempt.
            tasks: results and seconds by name.
            logged: all that was logged, where it has been read already.
        """
        logged = logged or self.logged()
        self._append_ending(ending)
        rows.evaluations = [
            result.evaluation(result.scores[0].task_id if result.scores else name, seconds)
            for name, (result, seconds) in tasks.items()
        ]
        results = [result for result, _ in tasks.values()]
        records: dict[type, list[Any]] = {
            LossPoint: logged.losses,
            Score: [score for result in results for score in result.scores],
            SampleScore: [sample for result in results for sample in result.samples],
            ScorePoint: logged.points,
            MetricPoint: logged.metrics,
        }
        files = {
            table.file: self._write_parquet(table, records[table.record], ending.attempt)
            for table in TABLES.values()
            if table.file and (records[table.record] or table.record not in (ScorePoint, MetricPoint))
        }
        self._write_manifest("done", rows, files)

    def write_rows(self, rows: RunRows) -> None:
        """Keeps the rows that are known so far, for who reads or ends the run without the process that trains.

        They outlast the process, as the logs do that they describe; the manifest outlasts the machine.
        """
        write_atomically(f"{self.path}/{ROWS}", line_of(rows.to_json()), durable=False)

    def rows(self) -> RunRows | None:
        """What `write_rows` was given; None where there is nothing that can be read."""
        content = self._content(ROWS)
        try:
            return RunRows.from_json(json.loads(content)) if content else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None while there is none.

        Raises:
            StoreError: it is there but can't be read.
        """
        return read_manifest(self.path)

    def is_done(self, tasks: Iterable[Asked]) -> bool:
        """Whether the run is finished and has been scored on all of these tasks, as they are asked."""
        manifest = self.manifest()
        if manifest is None or manifest["state"] != "done":
            return False
        there = [Asked.of(row) for row in manifest["rows"]["evaluations"]]
        return all(asked in there for asked in tasks)

    def garbage(self) -> str | None:
        """What is wrong with a manifest or with the files that it names, or None where nothing is (or none is there).

        Raises:
            StoreError: the manifest is that of another version of astraios.
        """
        from pyarrow import ArrowException, parquet

        try:
            manifest = self.manifest()
            if manifest is None:
                return None
            attempts, evaluations = manifest["rows"]["attempts"], manifest["rows"].get("evaluations", ())
            if manifest["rows"]["run"]["run_id"] != self.path.name or not attempts:
                return f"{MANIFEST} is that of another run"
            if manifest["state"] == "done" and not all("task_id" in row for row in evaluations):
                return f"{MANIFEST} lacks what a finished run has"
            for name, facts in manifest["files"].items():
                content = (self.path / name).read_bytes()
                if hashlib.sha256(content).hexdigest() != facts["sha256"]:
                    return f"{name} is not what {MANIFEST} says"
                if parquet.read_metadata(self.path / name).num_rows != facts["rows"]:
                    return f"{name} has not as many rows as {MANIFEST} says"
        except UnreadableError as error:
            return str(error)
        except (KeyError, TypeError, AttributeError):
            return f"{MANIFEST} lacks what a manifest has"
        except (OSError, ArrowException) as error:
            return f"{MANIFEST} names a file that can't be read ({' '.join(str(error).split())[:200]})"
        return None

    def set_garbage_aside(self) -> str | None:
        """Renames a manifest that is garbage, so that the run counts as not done; gives what was wrong."""
        problem = self.garbage()
        if problem is not None:
            os.replace(self.path / MANIFEST, self.path / f"garbage-{MANIFEST}")
        return problem

    def _append_ending(self, ending: Ending) -> None:
        # What is not known now may have been said in an earlier line.
        known = {name: value for name, value in values(ending).items() if value is not None}
        self._append("attempts.jsonl", known)

    def _write_manifest(self, state: str, rows: RunRows, files: dict[str, Any]) -> None:
        said = {**rows.to_json(), "attempts": self.attempts()}
        content = {"format": FORMAT, "state": state, "rows": said, "files": files}
        write_atomically(f"{self.path}/{MANIFEST}", json.dumps(content, indent=1).encode())

    def _write_parquet(self, table: Table, records: Sequence[Any], attempt: int) -> dict[str, Any]:
        content = parquet_bytes(table, records, attempt)
        assert table.file is not None
        write_atomically(f"{self.path}/{table.file}", content)
        return {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(records)}

    def _append(self, name: str, entry: dict[str, Any]) -> None:
        file = os.open(f"{self.path}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            write_all(file, line_of(entry))
        finally:
            os.close(file)

    def _content(self, name: str) -> bytes:
        try:
            with open(f"{self.path}/{name}", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""


class UnreadableError(StoreError):
    """A manifest that is there but can't be read."""


def attempts_of(content: bytes) -> list[dict[str, Any]]:
    """The attempts of a log: the last line of each number, over what earlier ones said."""
    by_number: dict[int, dict[str, Any]] = {}
    for entry in read_lines(content):
        if isinstance(entry.get("attempt"), int):
            by_number[entry["attempt"]] = {**by_number.get(entry["attempt"], {}), **entry}
    return [by_number[number] for number in sorted(by_number)]


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a run directory, or None where there is none.

    Raises:
        UnreadableError: it is there but can't be read.
        StoreError: another version of astraios wrote it.
    """
    try:
        content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UnreadableError(
            f"{path / MANIFEST}: not readable ({error}); delete the file to have the run done again"
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise UnreadableError(f"{path / MANIFEST}: not a manifest; delete the file to have the run done again")
    if content["format"] != FORMAT:
        raise StoreError(f"{path / MANIFEST}: layout {content['format']}, this astraios reads {FORMAT}")
    return content
