"""The run directory: the truth about one run, of which the database is an index.

    cell.json            what was asked, written first
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
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import StoreError, why
from astraios.files import write_atomically
from astraios.records import (
    TABLES,
    LossPoint,
    MetricPoint,
    SampleScore,
    Score,
    ScorePoint,
    Table,
    TaskResult,
    columns_of,
    plain_value,
    values,
)
from astraios.runs.log import Log, read_lines
from astraios.runs.mapped_log import MappedLog
from astraios.runs.rows import Ending, RunRows

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "manifest.json"
ROWS = "rows.json"
LOSSES, POINTS, METRICS = "losses.jsonl", "points.jsonl", "metrics.jsonl"
"""Logs that grow while a run trains."""
TRAINED = "trained.json"
FORMAT = 1
"""Version of this layout."""
PAUSE_S = 0.1
"""Losses of a fast model are written this often, not each by itself."""


def utc_now() -> str:
    """Now as ISO 8601 text, UTC, without offset (the database's timestamps carry none)."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Reached:
    """How far a run has come, by what was logged; None where nothing was."""

    step: int | None
    n_tokens: int | None
    learning_rate: float | None
    """The largest."""


class RunDirectory:
    """One run directory, for its writer and its readers.

    Args:
        path: the directory.
        pause: seconds between two writes of a log; at 0 what is appended is written at once.
        mapped: write logs at once, through mappings of their files.
    """

    def __init__(self, path: Path, pause: float = PAUSE_S, *, mapped: bool = False) -> None:
        self.path = path
        logs = [path / name for name in (LOSSES, POINTS, METRICS)]
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

    def start(self, cell_json: str) -> tuple[int, str]:
        """Makes the directory and opens an attempt; an interrupted one goes on under its own number.

        Returns:
            The number of the attempt and when it started.

        Raises:
            StoreError: the directory can't be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Written anew by whoever goes on, so it need not outlast the machine.
            write_atomically(self.path / "cell.json", cell_json.encode(), durable=False)
            entries = self.attempts()
            # Done without a manifest was stopped just before it was written; done with one is scored on a new task.
            if entries and entries[-1]["state"] in ("started", "done"):
                return entries[-1]["attempt"], entries[-1]["started_at"]
            number, now = (entries[-1]["attempt"] + 1 if entries else 1), utc_now()
            self._append("attempts.jsonl", {"attempt": number, "state": "started", "started_at": now})
            return number, now
        except OSError as error:
            raise StoreError(
                f"run directory {self.path.name}: can't be written ({why(error)}); "
                "free some space or choose another --out"
            ) from None

    def note(self, attempt: int, started_at: str, facts: Mapping[str, Any]) -> None:
        """Keeps something about an attempt that goes on."""
        self._append("attempts.jsonl", {"attempt": attempt, "state": "started", "started_at": started_at, **facts})

    def attempts(self) -> list[dict[str, Any]]:
        """The tries so far: the last line of each number."""
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
            self._losses.add(json.dumps(line).encode() + b"\n")

    def log_loss(self, split: str, step: int, n_tokens: int | None, loss: float, rate: float | None) -> None:
        """As `append_loss`, of a loss that need not be made a record for it; finite or not.

        The line is written by hand: a step of training waits for it.
        """
        tokens = "null" if n_tokens is None else n_tokens
        line = f'{_begin(split)}{step}, "n_tokens": {tokens}, "loss_nats": {loss!r}'
        if loss - loss != 0.0 or (rate is not None and rate - rate != 0.0):
            plain = {"split": split, "step": step, "n_tokens": n_tokens, "loss_nats": loss, "learning_rate": rate}
            line = json.dumps({k: v for k, v in plain.items() if v is not None or k == "n_tokens"})[:-1]
        elif rate is not None:
            line = f'{line}, "learning_rate": {rate!r}'
        self._losses.add(f"{line}}}\n".encode())

    def append_point(self, point: ScorePoint) -> None:
        """Adds a score along training, as `append_loss` does a loss."""
        self._points.add(json.dumps(asdict(point)).encode() + b"\n")

    def append_metrics(self, step: int, n_tokens: int | None, values: Mapping[str, float]) -> None:
        """Adds numbers that are neither losses nor scores, as `append_loss` does a loss."""
        self._metrics.add(json.dumps({"step": step, "n_tokens": n_tokens, "values": values}).encode() + b"\n")

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

    def reached(self) -> Reached:
        """How far the logs go."""
        self.flush()
        lines = [line for name in (LOSSES, POINTS, METRICS) for line in current_lines(self._content(name))]
        steps = [line["step"] for line in lines]
        tokens = [n for line in lines if (n := line.get("n_tokens")) is not None]
        rates = [rate for line in lines if (rate := line.get("learning_rate")) is not None]
        return Reached(max(steps, default=None), max(tokens, default=None), max(rates, default=None))

    def write_task(self, task_id: str, result: TaskResult, seconds: float) -> None:
        """Keeps the result of one task."""
        content = {"wall_seconds": seconds, **asdict(result)}
        write_atomically(self.path / f"task-{task_id}.json", json.dumps(content).encode())

    def read_task(self, task_id: str) -> tuple[TaskResult, float] | None:
        """The result of a task and the seconds it took, or None."""
        try:
            content = json.loads((self.path / f"task-{task_id}.json").read_text())
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

    def finish(self, rows: RunRows, ending: Ending, tasks: dict[str, tuple[TaskResult, float]]) -> None:
        """Writes what the database is to hold: Parquet first, the manifest last."""
        self._append_ending(ending)
        rows.evaluations = [result.evaluation(task_id, seconds) for task_id, (result, seconds) in tasks.items()]
        results = [result for result, _ in tasks.values()]
        records: dict[type, list[Any]] = {
            LossPoint: self.losses(),
            Score: [score for result in results for score in result.scores],
            SampleScore: [sample for result in results for sample in result.samples],
            ScorePoint: self.points(),
            MetricPoint: self.metrics(),
        }
        files = {
            table.file: self._write_parquet(table, records[table.record], ending.attempt)
            for table in TABLES.values()
            if table.file and (records[table.record] or table.record not in (ScorePoint, MetricPoint))
        }
        self._write_manifest("done", rows, files)

    def write_rows(self, rows: RunRows) -> None:
        """Keeps the rows that are known so far, for who reads or ends the run without the process that trains."""
        write_atomically(self.path / ROWS, json.dumps(rows.to_json()).encode())

    def rows(self) -> RunRows | None:
        """What `write_rows` was given; None where there is nothing that can be read."""
        try:
            return RunRows.from_json(json.loads((self.path / ROWS).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None while there is none.

        Raises:
            StoreError: it is there but can't be read.
        """
        return read_manifest(self.path)

    def is_done(self, tasks: Iterable[str]) -> bool:
        """Whether the run is finished and has been scored on all of these tasks."""
        manifest = self.manifest()
        return (
            manifest is not None
            and manifest["state"] == "done"
            and set(tasks) <= {row["task_id"] for row in manifest["rows"]["evaluations"]}
        )

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
        write_atomically(self.path / MANIFEST, json.dumps(content, indent=1).encode())

    def _write_parquet(self, table: Table, records: Sequence[Any], attempt: int) -> dict[str, Any]:
        import pyarrow as pa
        from pyarrow import parquet

        rows, sink = arrow_rows(table, records, attempt), pa.BufferOutputStream()
        # Steps and tokens shrink as differences, texts by a dictionary; losses are noise that no compression shrinks.
        texts = [field.name for field in rows.schema if pa.types.is_string(field.type)]
        parquet.write_table(
            rows,
            sink,
            compression={field.name: "zstd" if field.name in texts else "none" for field in rows.schema},
            use_dictionary=texts,
            column_encoding={f.name: "DELTA_BINARY_PACKED" for f in rows.schema if pa.types.is_integer(f.type)},
            write_statistics=False,
            store_schema=False,
        )
        content = sink.getvalue().to_pybytes()
        assert table.file is not None
        write_atomically(self.path / table.file, content)
        return {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(records)}

    def _append(self, name: str, entry: dict[str, Any]) -> None:
        with open(self.path / name, "ab", buffering=0) as file:
            file.write(json.dumps(entry).encode() + b"\n")

    def _content(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
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


def loss_points(content: bytes) -> list[LossPoint]:
    """The losses of a log, in order of split and step."""
    latest = {(line["split"], line["step"]): line for line in current_lines(content)}
    return [LossPoint(**latest[key]) for key in sorted(latest)]


def score_points(content: bytes) -> list[ScorePoint]:
    """The scores along training of a log, in order of task, metric and step."""
    points = [ScorePoint(**line) for line in current_lines(content)]
    latest = {(point.task_id, point.metric, point.step): point for point in points}
    return [latest[key] for key in sorted(latest)]


def metric_points(content: bytes) -> list[MetricPoint]:
    """The other numbers of a log, in order of name and step."""
    latest = {
        (name, line["step"]): MetricPoint(name, line["step"], line["n_tokens"], value)
        for line in current_lines(content)
        for name, value in line["values"].items()
    }
    return [latest[key] for key in sorted(latest)]


def current_lines(content: bytes) -> list[dict[str, Any]]:
    """Lines of a log without those that a resume went back over."""
    lines = read_lines(content)
    if not any("resumed" in line for line in lines):
        return lines
    kept: list[dict[str, Any]] = []
    resumed = False
    for line in lines:
        if line.get("resumed"):
            resumed = True
            continue
        if resumed:
            kept = [one for one in kept if one["step"] <= line["step"]]
            resumed = False
        kept.append(line)
    return kept


@cache
def _begin(split: str) -> str:
    return f'{{"split": {json.dumps(split)}, "step": '


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


def arrow_rows(table: Table, records: Sequence[Any], attempt: int) -> pa.Table:
    """Records of one table as the Parquet file of an attempt has them."""
    import pyarrow as pa

    types = {"integer": pa.int64(), "bigint": pa.int64(), "double": pa.float64(), "varchar": pa.string(),
             "json": pa.string()}  # fmt: skip
    columns = {
        name: pa.array([plain_value(getattr(record, name)) for record in records], types[column.sql])
        for name, column in columns_of(table.record).items()
    }
    return pa.table({"attempt": pa.array([attempt] * len(records), pa.int32()), **columns})
