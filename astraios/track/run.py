"""One run that is logged while it trains: `init`, `log`, `score`, `finish`.

    >>> import tempfile, astraios
    >>> folder = tempfile.mkdtemp()
    >>> with astraios.init(model="mine/small", method="lora", n_params=1.1e9, out=folder) as run:
    ...     run.log({"train/loss": 2.31, "eval/loss": 2.40, "learning_rate": 9e-5}, step=100, tokens=6_553_600)
    ...     run.score("gsm8k", accuracy=0.41, n=1319)

On a folder, what `log` returned for is in the run directory, out of reach of whatever ends this process. On object
storage what `flush` returned for is there; it is called now and then by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
import re
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from orjson import OPT_APPEND_NEWLINE, dumps

from astraios.errors import StoreError, UsageError, one_line, why
from astraios.files import exclusive
from astraios.records import Score, ScorePoint, TaskResult
from astraios.runs.directory import GOES_ON, RunDirectory, utc_now
from astraios.runs.environment import current
from astraios.runs.logged import Logged
from astraios.runs.mapped_log import MappedLog, can_map
from astraios.runs.metric_names import held_out_beside
from astraios.runs.place import Place
from astraios.runs.rows import Ending, RunRows
from astraios.track import process
from astraios.track.facts import Facts, about_run
from astraios.track.names import COUNT, LEARNING_RATE, METRIC, NO_LOSS, meaning, number

UPLOAD_S = 30.0
"""Seconds between two uploads to object storage."""
WAIT_S = 10.0
"""Seconds to wait for another process that has a run in hand: one that was killed lets go of it at once."""
_LARGEST = 2**31 - 1
"""Largest step that the database holds."""
_FRACTIONS = re.compile(r"^(?:accuracy|acc|acc_norm|exact_match|f1(?:_\w+)?|pass@?\d+|precision|recall)$")
_live: weakref.WeakSet[Run] = weakref.WeakSet()


def active() -> Run | None:
    """The run of this process that was begun last and is not finished."""
    runs = [run for run in _live if run.is_open]
    return max(runs, key=lambda run: run.began, default=None)


class Run:
    """A run that is being logged. Made by `init`."""

    def __init__(
        self,
        place: Place | None,
        run_id: str,
        facts: Facts,
        known: RunRows | None = None,
        wait: float = WAIT_S,
    ) -> None:
        self.id = self.run_id = run_id
        self.facts = facts
        self.began = time.monotonic()
        self._place = place
        self._lock = threading.RLock()
        self._directory: RunDirectory | None = None
        self._held = contextlib.ExitStack()
        self._meanings: dict[str, str] = {}
        self._defined: set[str | None] = set()
        self._mapped: MappedLog | None = None
        """The log of losses where it is mapped."""
        self._splits: dict[str, str] = {}
        """Splits whose losses go there as they come, by name: none where a learning rate goes with them."""
        self._refused: set[str] = set()
        self._tokens_per_step = facts.values.get("tokens_per_step")
        self._step = 0
        self._ended = False
        self._rate: tuple[int, float] | None = None
        self._known = known
        self._timed = True
        if place is not None:
            self._open(place, wait)
            _live.add(self)

    @property
    def is_open(self) -> bool:
        """Whether this process writes the run."""
        return self._directory is not None

    @property
    def path(self) -> Path | None:
        """The run directory on this machine; None where this process writes none."""
        return self._place.path / self.id if self._place else None

    @property
    def out(self) -> str:
        """Where the run directory is: a folder or a URL."""
        return self._place.address if self._place else ""

    def _open(self, place: Place, wait: float) -> None:
        # A mapping is no write that object storage would notice by the file's time.
        mapped = place.url is None and can_map(place.path)
        directory = RunDirectory(place.path / self.id, pause=0, mapped=mapped)
        self._held.enter_context(exclusive(directory.path / "lock", wait=wait, what=f"run {self.id}"))
        try:
            self._begin(directory)
            self._push()
        except BaseException as error:
            self._forget()
            if isinstance(error, OSError):
                raise _unwritten(self.id, error) from None
            raise
        if place.url is not None:
            threading.Thread(target=_upload, args=(weakref.ref(self),), daemon=True).start()

    def _begin(self, directory: RunDirectory) -> None:
        before = directory.attempts()
        rows = self.facts.rows(self.id)
        self._before = _seconds_before(directory, before)
        session = {"session_at": utc_now(), "seconds_before": self._before}
        self._number, self._started = directory.start(None, session)
        if before:
            directory.mark_resumed()
            self._step = directory.last_step()
        self._directory, self._mapped = directory, directory.mapped_losses
        self._clock = time.perf_counter()
        self._environment = current(process.device_name())
        self._tell(rows)

    def _rows(self, rows: RunRows | None = None) -> RunRows:
        """All that is known of the run now; `rows` where the facts are rows already."""
        rows, known = rows or self.facts.rows(self.id), self._known
        about = about_run(rows)
        about["ids"] = {**((known and about_run(known).get("ids")) or {}), **process.other_ids()}
        if commit := process.code_commit():
            about["code"] = commit
        rows.environment, rows.tasks = self._environment, list((known and known.tasks) or ())
        return rows

    def _tell(self, rows: RunRows | None = None) -> None:
        """Writes what is known of the run now."""
        assert self._directory is not None
        self._known = self._rows(rows)
        self._directory.write_rows(self._known)

    def describe(self, facts: Facts | None = None, **values: Any) -> None:
        """Adds facts that were not known when the run began; what is known already stays.

        Args:
            facts: what a hook found out.
            values: arguments of `init`: n_trainable, seed, learning_rate, steps, ...
        """
        with self._lock:
            if self._directory is None:
                return
            self.facts.add("argument", values)
            self.facts.take(facts or Facts())
            self.facts.complete()
            self._tokens_per_step = self.facts.values.get("tokens_per_step")
            self._tell()

    def log(self, values: Mapping[str, Any], step: int | None = None, tokens: int | None = None) -> None:
        """Keeps losses, the learning rate and any other numbers of a step.

        `loss` and `train/loss` are the training batch's, `eval/loss`, `val_loss`, `eval_SET_loss` those of test splits;
        what is no loss is kept as a metric. Losses are in nats a token.

        Args:
            values: by name; numbers of Python, NumPy or torch, and mappings of them.
            step: optimizer steps done; by default one more than last time.
            tokens: tokens trained on so far; by default `step` times `tokens_per_step`.

        Raises:
            UsageError: a step that is no whole number from 0.
            StoreError: the disk is full, say. What was given is kept and written with the next call.
        """
        if len(values) == 1:  # One loss, its step and tokens: the usual call has a short way, without a lock.
            try:
                (name,) = values
                split, value = self._splits[name], values[name]
                usual = type(value) is float and type(step) is int and type(tokens) is int
                if usual and value - value == 0.0 and 0 <= step <= _LARGEST:  # type: ignore[operator]
                    line = {"split": split, "step": step, "n_tokens": tokens, "loss_nats": value}
                    self._mapped.put(dumps(line, None, OPT_APPEND_NEWLINE))  # type: ignore[union-attr]
                    self._step = step  # type: ignore[assignment]
                    return
            except (KeyError, ValueError, TypeError):  # Not the usual call, or no room: the long way.
                pass
        if self._directory is None:
            self._refuse_ended()
            return
        with self._lock:
            directory = self._directory
            if directory is None:  # Another thread has finished it meanwhile.
                self._refuse_ended()
                return
            if step is None:
                step = self._step + 1
            elif type(step) is not int or not 0 <= step <= _LARGEST:
                step = _whole(step)
            meanings, losses, rate = self._meanings, [], None
            others: dict[str, float] = {}
            for name, value in values.items():
                if type(value) is not float:
                    value = self._plain_number(name, value, others)
                    if value is None:
                        continue
                what = meanings.get(name) or self._learn(name)
                if what is METRIC:
                    others[name] = value
                elif what is LEARNING_RATE:
                    rate = value
                elif what is COUNT:
                    tokens = tokens if value - value else int(value)  # A NaN counts nothing.
                else:
                    losses.append((what, value))
            if rate is not None:
                self._rate = (step, rate)
                self._splits = {}
                if not losses:
                    others["learning_rate"] = rate
            elif self._rate is not None and self._rate[0] == step:
                rate = self._rate[1]
            if tokens is None and self._tokens_per_step is not None:
                tokens = step * self._tokens_per_step
            elif tokens is not None and type(tokens) is not int:
                tokens = int(tokens)
            self._step = step
            failure = None
            for split, value in losses:
                try:
                    directory.log_loss(split, step, tokens, value, rate)
                except OSError as error:
                    failure = error
            if others:
                try:
                    directory.append_metrics(step, tokens, others)
                except OSError as error:
                    failure = error
            if failure is not None:
                raise _unwritten(self.id, failure)

    def _refuse_ended(self) -> None:
        """What a finished run is told would be lost; a process that writes nothing is meant to lose it."""
        if self._ended:
            raise UsageError(
                f"run {self.id} is finished: begin another, or go on with astraios.track.reopen({self.id!r})"
            )

    def _learn(self, name: str) -> str:
        """What a name means in this run: of two names for one split's loss, the second is another set's or a metric."""
        what = meaning(name)
        if what not in NO_LOSS and what in self._meanings.values():
            other = None if what in self._defined else held_out_beside(name, self._meanings.values())
            what = METRIC if other is None or other in self._meanings.values() else other
        self._mean(name, what)
        return what

    def _mean(self, name: str, what: str) -> None:
        self._meanings[name] = what
        self._splits.pop(name, None)
        if what not in NO_LOSS and self._mapped is not None and self._rate is None:
            self._splits[name] = what

    def define(self, name: str, split: str | None = None) -> None:
        """Says what a name means in this run.

        Args:
            name: as it is logged.
            split: the split whose loss it is: test, batch, ...; None for a metric that is no loss.
        """
        for one in [one for one, what in self._meanings.items() if what == split]:
            self._mean(one, METRIC)
        self._mean(name, split or METRIC)
        self._defined.add(split)

    def _plain_number(self, name: str, value: Any, others: dict[str, float]) -> float | None:
        if isinstance(value, Mapping):
            for inner, one in value.items():
                found = self._plain_number(f"{name}/{inner}", one, others)
                if found is not None:
                    others[f"{name}/{inner}"] = found
            return None
        found = number(value)
        if found is None and value is not None and name not in self._refused:
            self._refused.add(name)
            warnings.warn(f"astraios: {name} is no number ({type(value).__name__}): not kept", stacklevel=3)
        return found

    def score(
        self,
        task: str,
        values: Mapping[str, float] | None = None,
        *,
        n: int | None = None,
        stderr: float | None = None,
        n_shot: int = 0,
        step: int | None = None,
        tokens: int | None = None,
        settings: Mapping[str, Any] | None = None,
        **metrics: float,
    ) -> None:
        """Keeps scores on a task: of the tuned model, or along training where `step` says when.

        Args:
            task: its name; where astraios has the task, its identifier.
            values: scores by metric, for names that are no keyword: {"pass@1": 0.31}. Fractions.
            n: items behind them.
            stderr: standard error over items, of a single metric.
            n_shot: demonstrations in the prompt.
            step: optimizer steps done, for a score along training.
            tokens: tokens trained on so far.
            settings: how it was evaluated.
            metrics: scores by metric: accuracy=0.41.

        Raises:
            UsageError: no score is given, or one that should be a fraction is none.
            StoreError: it can't be written.
        """
        found = {name: _score(task, name, value) for name, value in {**(values or {}), **metrics}.items()}
        if not found:
            raise UsageError(f"score of {task}: name a metric and its value: accuracy=0.41")
        if stderr is not None and len(found) > 1:
            raise UsageError(f"score of {task}: stderr={stderr} of {len(found)} metrics: one call a metric")
        with self._lock:
            if self._directory is None:
                self._refuse_ended()
                return
            try:
                if step is not None:
                    self._score_along(task, found, _whole(step), tokens, stderr, n)
                else:
                    self._score_at_end(task, found, stderr, n, n_shot, settings)
                self._note_task(task, next(iter(found)))
            except OSError as error:
                raise _unwritten(self.id, error) from None

    def _score_along(
        self, task: str, found: Mapping[str, float], step: int, tokens: int | None, stderr: float | None, n: int | None
    ) -> None:
        assert self._directory is not None
        if tokens is None and self._tokens_per_step is not None:
            tokens = step * self._tokens_per_step
        # What is scored when training is over does not say when its step was reached.
        seconds = self._seconds() * process.n_devices() if self._timed else None
        for metric, value in found.items():
            self._directory.append_point(ScorePoint(task, metric, step, value, tokens, seconds, stderr, n))

    def _score_at_end(
        self,
        task: str,
        found: Mapping[str, float],
        stderr: float | None,
        n: int | None,
        n_shot: int,
        settings: Mapping[str, Any] | None,
    ) -> None:
        assert self._directory is not None
        scores = {(s.metric, s.n_shot): s for s in self._scored(task)}
        for metric, value in found.items():
            scores[metric, n_shot] = Score(task, metric, value, stderr, None, None, n, n_shot=n_shot)
        result = TaskResult(tuple(scores.values()), (), n or 0, settings=dict(settings or {}))
        self._directory.write_task(_file_name(task), result, 0.0)

    def _scored(self, task: str) -> tuple[Score, ...]:
        assert self._directory is not None
        known = self._directory.read_task(_file_name(task))
        return known[0].scores if known else ()

    def _note_task(self, task: str, metric: str) -> None:
        from astraios.importers._runs import task_row

        assert self._known is not None
        known = self._known.tasks or ()
        if all(row.task_id != task for row in known):
            self._known.tasks = [*known, task_row(task, metric)]
            self._tell()

    def flush(self) -> None:
        """Makes sure of all that was logged, on object storage too.

        Raises:
            StoreError: it can't be written.
        """
        with self._lock:
            if self._directory is None:
                return
            try:
                self._directory.flush()
            except OSError as error:
                raise _unwritten(self.id, error) from None
            self._push()

    def finish(self, error: BaseException | str | None = None) -> None:
        """Ends the run: done, or failed with a reason. Finishing twice does no harm.

        Its steps and tokens become those that were logged, whatever was planned.

        Args:
            error: why it failed.

        Raises:
            StoreError: it can't be written; call it again when there is room.
        """
        with self._lock:
            directory = self._directory
            if directory is None:
                return
            try:
                directory.close()
                logged = directory.logged()
                self._write_end(directory, self._rows_at_end(logged), logged, error)
            except OSError as failure:
                raise _unwritten(self.id, failure) from None
            self._push()
            self._directory, self._splits, self._ended = None, {}, True
            self._held.close()

    def summary(self) -> dict[str, Any]:
        """How the run stands: run_id, state, step, planned_steps, n_points."""
        assert self._place is not None
        directory = RunDirectory(self._place.path / self.id)
        losses = directory.losses()
        return {
            "run_id": self.id, "state": directory.attempts()[-1]["state"],
            "step": max((point.step for point in losses), default=0),
            "planned_steps": self.facts.values.get("steps"), "n_points": len(losses),
        }  # fmt: skip

    def _write_end(
        self, directory: RunDirectory, rows: RunRows, logged: Logged, error: BaseException | str | None
    ) -> None:
        seconds, n_tokens = self._seconds(), rows.run.n_tokens
        ending = Ending(
            attempt=self._number,
            state="done" if error is None else "failed",
            started_at=self._started,
            finished_at=utc_now(),
            wall_seconds=seconds,
            device_seconds=seconds * process.n_devices(),
            peak_memory_bytes=process.peak_memory_bytes(),
            tokens_per_second=n_tokens / seconds if n_tokens and seconds else None,
            environment_id=self._environment.environment_id,
            error=None if error is None else error if isinstance(error, str) else one_line(error),
        )
        if error is None:
            directory.finish(rows, ending, dict(_tasks(directory)), logged)
        else:
            directory.fail(rows, ending)

    def _rows_at_end(self, logged: Logged) -> RunRows:
        """The rows, with the steps and tokens that were logged in place of those that were planned."""
        rows = self._rows()
        run, about = rows.run, about_run(rows)
        steps, n_tokens, peak = run.steps, run.n_tokens, run.learning_rate
        if logged.step is not None:
            about["planned_steps"], steps = steps, logged.step
        if logged.n_tokens is not None:
            n_tokens = logged.n_tokens
        if peak is None and logged.learning_rate is not None:
            peak = logged.learning_rate
            about["sources"] = {**about["sources"], "learning_rate": "the largest that was logged"}
        rows.run = replace(run, steps=steps, n_tokens=n_tokens, learning_rate=peak)
        self._known = rows
        return rows

    def _seconds(self) -> float:
        """Of all processes that have had this attempt in hand."""
        return float(self._before + time.perf_counter() - self._clock)

    def _push(self) -> None:
        if self._place is not None and self._place.url is not None:
            self._place.push(self.id)

    def _at_exit(self) -> None:
        """The script has ended without `finish`: done where nothing went wrong and what was planned is reached."""
        if self._directory is None:
            return
        planned = self.facts.values.get("steps")
        if getattr(sys, "last_value", None) is None and (not planned or self._step >= planned):
            self.finish()
            return
        self.flush()
        sys.stderr.write(
            f"astraios: run {self.id} is interrupted at step {self._step}: go on with id={self.id!r}, or close it: "
            f"astraios finish {self.id} --out {self.out}\n"
        )

    def _forget(self) -> None:
        """In a child of the process that writes: it writes nothing."""
        self._directory, self._splits = None, {}
        self._held.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, Exception):
            self.finish(error)
        else:
            self.flush()  # Ctrl-C and SystemExit: interrupted, to be gone on with.
            self._forget()


def _seconds_before(directory: RunDirectory, attempts: Sequence[Mapping[str, Any]]) -> float:
    """Seconds that earlier processes spent on an attempt that goes on: to its end, or to the last that they wrote."""
    last = attempts[-1] if attempts else {}
    if last.get("state") not in GOES_ON:
        return 0.0
    if last.get("wall_seconds") is not None:
        return float(last["wall_seconds"])
    start = last.get("session_at")
    written = [path.stat().st_mtime for path in directory.path.glob("*.jsonl")]
    if start is None or not written:
        return float(last.get("seconds_before") or 0.0)
    began = datetime.datetime.fromisoformat(str(start)).replace(tzinfo=datetime.UTC).timestamp()
    return float(last.get("seconds_before") or 0.0) + max(0.0, max(written) - began)


def _tasks(directory: RunDirectory) -> list[tuple[str, tuple[TaskResult, float]]]:
    found = []
    for name in directory.task_names():
        result = directory.read_task(name)
        if result is not None and result[0].scores:
            found.append((result[0].scores[0].task_id, result))
    return found


def _file_name(task: str) -> str:
    """A task's name as part of a file's, told apart from every other."""
    return re.sub(r"[^A-Za-z0-9@._-]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), task)


def _score(task: str, metric: str, value: Any) -> float:
    found = number(value)
    if found is None:
        raise UsageError(f"score of {task}: {metric} should be a number, not {value!r:.60}")
    if _FRACTIONS.match(metric) and not 0 <= found <= 1:
        raise UsageError(f"score of {task}: {metric}={found:g}: a fraction is expected, 0.41 rather than 41")
    return found


def _whole(step: Any) -> int:
    found = number(step)
    if found is None or found != found or found < 0 or found > _LARGEST or found != int(found):
        raise UsageError(f"step should be a whole number from 0, not {step!r:.60}")
    return int(found)


def _unwritten(run_id: str, error: OSError) -> StoreError:
    return StoreError(
        f"run {run_id}: can't be written ({why(error)}); what was given is kept and written with the next call"
    )


def _upload(reference: weakref.ref[Run]) -> None:
    """Takes what was logged to object storage now and then, while the run lives."""
    told = False
    while True:
        time.sleep(UPLOAD_S)
        run = reference()
        if run is None or not run.is_open:
            return
        try:
            run.flush()
        except StoreError as error:
            if not told:
                warnings.warn(f"astraios: {error}", stacklevel=1)
            told = True
        del run


def _at_exit() -> None:
    for run in list(_live):
        try:
            run._at_exit()
        except StoreError as error:
            sys.stderr.write(f"astraios: {error}\n")


def _in_child() -> None:
    for run in list(_live):
        run._forget()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_in_child)
