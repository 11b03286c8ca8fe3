"""One cell of a sweep in one run directory: train, score, write. It can be stopped at any moment and started again."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.collect.cell.environment import current
from astraios.collect.cell.scoring import Scorer, scored, with_kept
from astraios.collect.cell.serving import give_back_memory, serve, shared_out
from astraios.collect.cell.training import Training, micro_batch, prepared_data
from astraios.collect.plan.cell_plan import Plan, describe
from astraios.collect.plan.compute import KeepSpec
from astraios.collect.plan.engine import engines_asked
from astraios.collect.plan.keep import check_disk, is_kept
from astraios.collect.plan.sweep import Cell
from astraios.data import packing as instruction_data
from astraios.errors import AstraiosError, CellError, one_line
from astraios.evaluate.tasks import TASKS
from astraios.files import exclusive
from astraios.models.ladders import resolve
from astraios.models.methods import METHODS
from astraios.records import EnvironmentRow, TaskResult, from_values, values
from astraios.runs.directory import ASKED, RunDirectory, utc_now
from astraios.runs.rows import Ending, RunRows
from astraios.train.checkpoint import Checkpoint, KeptCheckpoints

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""
Answer = Callable[[str], TaskResult]
"""Scores an entry of `tasks`."""


COSTS = (
    "tuning_seconds",
    "device_seconds",
    "tokens_per_second",
    "peak_memory_bytes",
    "micro_batch",
    "matmul_flops_per_second",
    "model_flops_utilisation",
)
"""What an attempt records of tuning."""


def run_cell(
    cell: Cell,
    sweep_json: str,
    out: Path,
    report: Report = lambda stage, done, total: None,
    device: str = "auto",
    *,
    train_only: bool = False,
    facts: Plan | None = None,
    time_limit: float | None = None,
    lock_wait: float = 10.0,
    keep_safe: Callable[[], None] = lambda: None,
) -> None:
    """Brings a cell to its end: nothing is done where it is done already, and what is there is gone on with.

    Args:
        cell: what is asked for.
        sweep_json: the sweep that asks, for the record.
        out: folder of the run directories.
        report: told of the progress.
        device: cpu, cuda or auto.
        train_only: stop when it is trained; the next call, here or elsewhere, goes on from there.
        facts: its plan, where that is known.
        time_limit: seconds; a cell that takes longer is recorded as failed, and this process ends with exit code 1.
        lock_wait: seconds to wait for another process that has this cell in hand.
        keep_safe: called whenever the run directory holds something that would be a loss.

    Raises:
        AstraiosError: the cell failed; the reason stands in its run directory too.
    """
    directory = RunDirectory(out / cell.run_id)
    with exclusive(directory.path / "lock", wait=lock_wait, what=f"run {cell.run_id}"):
        directory.set_garbage_aside()
        if directory.is_done(cell.asked) or (train_only and directory.is_trained()):
            return
        facts = facts or describe(cell)
        attempt, started = directory.start(cell.to_json())
        clock = time.perf_counter()
        record = _Record(facts.rows(sweep_json), Ending(attempt=attempt, state="started", started_at=started))

        def fail(reason: str) -> None:
            record.note(state="failed", error=reason, finished_at=utc_now())
            if record.ending.wall_seconds is None:
                record.note(wall_seconds=time.perf_counter() - clock)
            directory.fail(record.rows, record.ending)
            keep_safe()

        with _Deadline(time_limit, report, fail) as deadline:
            try:
                work = _Work(cell, facts, directory, deadline.report, device, record, keep_safe)
                tasks = work.run(train_only)
            except Exception as error:
                deadline.lift()
                reason = one_line(error, deadline.where)
                fail(reason)
                if isinstance(error, AstraiosError):
                    raise
                raise CellError(reason) from error
            deadline.lift()
            if not train_only:
                directory.finish(record.rows, record.ending, tasks)
                keep_safe()
                directory.forget_checkpoint()


@dataclass
class _Record:
    """What is known of the cell so far, so that a failure records it."""

    rows: RunRows
    ending: Ending

    def note(self, **known: Any) -> None:
        """Columns of the attempt that have become known."""
        self.ending = replace(self.ending, **known)


class _Deadline:
    """Ends this process when an attempt has taken too long, unless its last records are being written already."""

    def __init__(self, seconds: float | None, report: Report, fail: Callable[[str], None]) -> None:
        self._report, self._fail, self._seconds = report, fail, seconds
        self.where = "starting"
        self._ending = threading.Lock()
        self._timer = threading.Timer(seconds, self._expire) if seconds else None

    def __enter__(self) -> _Deadline:
        if self._timer:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer:
            self._timer.cancel()

    def report(self, stage: str, done: int, total: int) -> None:
        """Passes progress on, and remembers it for the reason."""
        self.where = f"{stage} ({done} of {total})" if total > 1 else stage
        self._report(stage, done, total)

    def lift(self) -> None:
        """From here on time does not count."""
        self._ending.acquire()

    def _expire(self) -> None:
        with self._ending:
            self._fail(
                f"time limit of {(self._seconds or 0) / 60:g} minutes reached while {self.where}: raise [compute] "
                "time_limit_minutes, or run the same command again, which goes on from the last checkpoint"
            )
            os._exit(1)


def _found(device: str, planned: str) -> str:
    """The device that a cell runs on.

    Raises:
        CellError: it was planned for a GPU and none is here; it must not train on a CPU under the same run_id.
    """
    import torch

    here = torch.cuda.is_available()
    if planned == "cuda" and device != "cpu" and not here:
        raise CellError(
            "it was planned for a GPU, and torch finds none here: ask for one in [launch], install torch for CUDA, or "
            'set [compute] device = "cpu"'
        )
    return ("cuda" if here else "cpu") if device == "auto" else device


@contextlib.contextmanager
def _fitting(checkpoint: Checkpoint) -> Iterator[None]:
    """A checkpoint that can be read and is none of this model must not fail the cell for ever: it is set aside."""
    try:
        yield
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        if "out of memory" in str(error).lower():
            raise
        aside = checkpoint.set_aside()
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CellError(
            f"its checkpoint does not fit the model ({line[:200]}) and is {aside.name} now: run the same command "
            "again, which trains from the start"
        ) from error


class _Work:
    """The steps of a cell; `record` is filled as facts become known."""

    def __init__(
        self,
        cell: Cell,
        facts: Plan,
        directory: RunDirectory,
        report: Report,
        device: str,
        record: _Record,
        keep_safe: Callable[[], None],
    ) -> None:
        import torch

        self.cell, self.facts, self.directory, self.report = cell, facts, directory, report
        self.record, self.rows, self.keep_safe = record, record.rows, keep_safe
        self.method = METHODS.get(cell.method_id)
        self.device = _found(device, facts.device)
        said = json.loads(self.rows.sweep_json)
        blocks = micro_batch(cell, self.device, said.get("compute", {}).get("device_memory_gb"))
        self.training = Training(cell, self.device, micro_batch=blocks)
        self.keep = KeepSpec(**said.get("keep", {}))
        self.served: list[str] = []
        """Entries of `tasks` that vLLM answers."""
        self.reasons: dict[str, str] = {}
        """Why transformers answers others that vLLM might."""
        torch.set_num_threads(cell.threads)

    def run(self, train_only: bool) -> dict[str, tuple[TaskResult, float]]:
        """Trains and scores; gives the results of the tasks."""
        started = time.perf_counter()
        self._set_environment(current(self.device))
        if self.facts.problem:
            raise CellError(self.facts.problem)
        if not train_only:
            self.served, self.reasons = shared_out(self.cell, self.keep, self.device)
        self._prepare()
        self.report("loading", 0, 1)
        model, tokenizer = self.training.load_base()
        packed, dataset, held_out = prepared_data(self.cell, tokenizer)
        self.rows.dataset = dataset
        came = dataset.settings.get("revision") if isinstance(dataset.settings, Mapping) else None
        self.rows.run = replace(
            self.rows.run,
            dataset_id=dataset.dataset_id,
            bytes_per_token=dataset.bytes_per_token,
            base_revision=self.training.came or self.rows.run.base_revision,
            data_revision=came,
        )
        tokens_per_step = self.cell.train.batch_size * int(packed.train.shape[1])
        scorer = Scorer(self.cell, self.directory, tokenizer, held_out, tokens_per_step)
        tuned, cost = self._tuned(model, packed, scorer)
        if train_only:
            self.directory.write_trained({"cost": cost, "environment": values(self.rows.environment)})
            return {}
        self._keep(tuned, tokenizer)
        later = [name for name in self.served if self._kept(name) is None]
        done = self._score([name for name in self.cell.tasks if name not in later], partial(scorer.result, tuned))
        del model, tuned  # vLLM gets the GPU
        if later:
            done |= self._score(later, self._through_vllm(scorer))
        tasks = self._all(done)
        if self.cell.train.score_every:
            for name, (result, _) in tasks.items():
                scorer.record(name, result, self.cell.train.steps, cost["device_seconds"])
        price = json.loads(self.rows.sweep_json).get("compute", {}).get("price_per_device_hour")
        self.record.note(
            **cost,
            state="done",
            finished_at=utc_now(),
            wall_seconds=cost["tuning_seconds"] + sum(seconds for _, seconds in tasks.values()),
            setup_seconds=max(0.0, time.perf_counter() - started - cost["tuning_seconds"]),
            checkpoint_bytes=sum(f.stat().st_size for f in self.directory.adapter_path.rglob("*") if f.is_file()),
            price=None if price is None else price * cost["device_seconds"] / 3600,
        )
        return tasks

    def _set_environment(self, row: EnvironmentRow) -> None:
        self.rows.environment = row
        self.record.note(environment_id=row.environment_id)

    def _finished_before(self) -> dict[str, Any] | None:
        """The record of an earlier attempt that finished training and left the tuned model, or None."""
        manifest = self.directory.manifest()
        if manifest is None or manifest["state"] != "done" or not self.directory.adapter_path.is_dir():
            return None
        return dict(manifest["rows"]["attempts"][-1])

    def _prepare(self) -> None:
        """What is refused is refused before anything is loaded; what several processes train, they train here."""
        from astraios.collect.cell import distributed

        if self._finished_before() is not None:
            return
        if self.keep.checkpoints:
            self.directory.kept_path.mkdir(exist_ok=True)
        ladder, _ = resolve(self.cell.base)
        self.training.check(ladder.config(self.cell.base))
        check_disk([self.facts], self.keep, self.directory.path.parent)
        checkpoint = Checkpoint(self.directory.checkpoint_path)
        if self.cell.train.processes > 1 and checkpoint.step() < self.cell.train.steps:
            blocks = self.training.micro_batch
            distributed.train(self.cell, self.directory.path, self.device, self.report, blocks)

    def _tuned(
        self, base: Any, packed: instruction_data.PackedData, scorer: Scorer
    ) -> tuple[nn.Module, dict[str, Any]]:
        """The tuned model and what tuning it cost: trained, or loaded where an earlier attempt had finished."""
        known = self._finished_before()
        if known is not None:
            return self.method.load(base, self.directory.adapter_path), {name: known.get(name) for name in COSTS}
        checkpoint = Checkpoint(self.directory.checkpoint_path)
        checkpoint.clean()
        saved = checkpoint.load()
        if saved and saved.step == self.cell.train.steps:
            with _fitting(checkpoint):
                tuned = self.training.trained(base, saved)
            elsewhere = self.directory.trained()
            if elsewhere:
                self._set_environment(from_values(EnvironmentRow, elsewhere["environment"]))
            cost = elsewhere["cost"] if elsewhere else self._cost(saved)
            return tuned, cost

        kept = KeptCheckpoints(self.directory.kept_path)

        def score(model: nn.Module, state: Any) -> None:
            self.report(f"scoring step {state.step}", state.step, self.cell.train.steps)
            scorer.along(model, state, self.cell.tasks)

        def save(state: Any) -> None:
            self.directory.flush()
            kept.keep(state)
            checkpoint.save(state)
            self.keep_safe()

        trainer = self.training.trainer(
            base,
            packed,
            on_loss=self.directory.append_loss,
            on_score=score,
            on_step=lambda step: self.report("training", step, self.cell.train.steps),
            save=save,
        )
        with _fitting(checkpoint):
            trainer.restore(saved)
        del saved
        state = trainer.run()
        return trainer.finished(), self._cost(state)

    def _cost(self, state: Any) -> dict[str, Any]:
        from astraios.train.flops import matmul_rate

        facts, device_seconds = self.facts, state.train_seconds * self.cell.train.processes
        rate = matmul_rate(str(self.record.ending.environment_id), self.device, self.cell.threads)
        return {
            "tuning_seconds": state.train_seconds + state.eval_seconds,
            "device_seconds": device_seconds,
            "tokens_per_second": facts.n_tokens / state.train_seconds,
            "peak_memory_bytes": state.peak_memory_bytes,
            "micro_batch": state.micro_batch,
            "matmul_flops_per_second": rate,
            "model_flops_utilisation": facts.train_flops / device_seconds / rate,
        }

    def _keep(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        if self._finished_before() is None and is_kept(self.method.kind, self.keep):
            self.method.save(model, self.directory.adapter_path)
            if self.method.kind == "full":
                # A whole model stands for itself: with its tokenizer every engine can load the folder.
                tokenizer.save_pretrained(str(self.directory.adapter_path))

    def _score(self, tasks: Sequence[str], answer: Answer) -> dict[str, tuple[TaskResult, float]]:
        """Results of entries of `tasks`: as they are kept, where they were asked in the same way, else scored now."""
        results = {}
        for name in tasks:
            self.report(f"scoring {name}", self.cell.tasks.index(name), len(self.cell.tasks))
            results[name] = self._kept(name) or self._evaluated(name, answer)
        return results

    def _through_vllm(self, scorer: Scorer) -> Answer:
        """vLLM on the saved model; where it can't load what was left to us, the saved model in memory again."""
        self.report("starting vLLM", 0, 1)
        try:
            return partial(scorer.served, serve(self.cell, self.training, self.directory.adapter_path))
        except AstraiosError as error:
            if "vllm" in engines_asked(self.cell).values():
                raise
            self.reasons |= dict.fromkeys(self.served, str(error))
        give_back_memory()
        base, _ = self.training.load_base()
        return partial(scorer.result, self.method.load(base, self.directory.adapter_path))

    def _all(self, found: Mapping[str, tuple[TaskResult, float]]) -> dict[str, tuple[TaskResult, float]]:
        """Results in the order of `tasks`, and those that other sweeps had this run scored on; notes their tasks."""
        results = with_kept(self.directory, {name: found[name] for name in self.cell.tasks})
        task_ids = dict.fromkeys(task_id for result in results.values() for task_id, _ in sorted(scored(result)))
        self.rows.tasks = [TASKS.get(task_id).describe() for task_id in task_ids if task_id in TASKS]
        return results

    def _told(self, name: str) -> dict[str, Any]:
        task, options = self.cell.evaluation(name)
        return task.told(options)

    def _kept(self, name: str) -> tuple[TaskResult, float] | None:
        """The result of an entry of `tasks` that was asked in the same way before."""
        known = self.directory.read_task(name)
        return known if known is not None and known[0].settings.get(ASKED, {}) == self._told(name) else None

    def _evaluated(self, name: str, answer: Answer) -> tuple[TaskResult, float]:
        start = time.perf_counter()
        result = answer(name)
        why = {"engine_reason": self.reasons[name]} if name in self.reasons else {}
        settings = {**result.settings, **why, ASKED: self._told(name)}
        known = replace(result, settings=settings), time.perf_counter() - start
        self.directory.write_task(name, *known)
        self.keep_safe()
        return known
