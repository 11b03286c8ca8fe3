"""One cell of a sweep in one run directory: train, score, write. It can be stopped at any moment and started again."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.collect import data as instruction_data
from astraios.collect.cache import cache_dir, exclusive
from astraios.collect.environment import current
from astraios.collect.keep import check_disk, is_kept
from astraios.collect.ladders import resolve
from astraios.collect.methods import METHODS
from astraios.collect.plan import Plan, describe
from astraios.collect.sources import Record
from astraios.collect.spool import RunDirectory, utc_now
from astraios.collect.sweep import Cell, KeepSpec
from astraios.collect.tasks import TASKS, TunedModel
from astraios.errors import AstraiosError, CellError
from astraios.records import TaskResult

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from astraios.collect.train import Trainer

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


PACKING = 2
"""Version of the packing, a part of its name in the cache."""

COSTS = (
    "tuning_seconds",
    "device_seconds",
    "tokens_per_second",
    "peak_memory_bytes",
    "matmul_flops_per_second",
    "model_flops_utilisation",
)
"""What an attempt records of tuning."""


def run_cell(
    cell: Cell, sweep_json: str, out: Path, report: Report = lambda stage, done, total: None, device: str = "auto"
) -> None:
    """Brings a cell to its end: nothing is done where it is done already, and what is there is gone on with.

    Args:
        cell: what is asked for.
        sweep_json: the sweep that asks, for the record.
        out: folder of the run directories.
        report: told of the progress.
        device: cpu, cuda or auto.

    Raises:
        AstraiosError: the cell failed; the reason stands in its run directory too.
    """
    directory = RunDirectory(out / cell.run_id)
    with exclusive(directory.path / "lock", wait=10.0, what=f"run {cell.run_id}"):
        if directory.is_done(cell.tasks):
            return
        attempt, started = directory.start(cell.to_json())
        clock = time.perf_counter()
        rows = {"sweep_json": sweep_json}
        ending: dict[str, Any] = {"attempt": attempt, "started_at": started}
        try:
            _Work(cell, directory, report, device, rows, ending).run()
        except Exception as error:
            reason = one_line(error)
            ending |= {"state": "failed", "error": reason, "finished_at": utc_now()}
            ending.setdefault("wall_seconds", time.perf_counter() - clock)
            directory.fail(rows, ending)
            if isinstance(error, AstraiosError):
                raise
            raise CellError(reason) from error


def one_line(error: BaseException) -> str:
    """What went wrong and what to do, for the record and for the user."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AstraiosError):
        return text
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; free some space and run the same command again"
    if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", text, re.IGNORECASE):
        return (
            "out of memory: set [train] gradient_checkpointing = true, a smaller micro_batch, a smaller [data] "
            "sequence_length, or [train] processes and fsdp"
        )
    return f"{type(error).__name__}: {text[:500]}"


class Training:
    """A cell's base model and training loop, for the process that does all of it and for those that share it.

    Args:
        cell: what is asked for.
        device: where the base is loaded.
        computes_on: cpu or cuda, where that is another: decides the precision.
    """

    def __init__(self, cell: Cell, device: str, computes_on: str | None = None) -> None:
        self.cell, self.device, self.computes_on = cell, device, computes_on or device
        self.method = METHODS.get(cell.method_id)

    def load_base(self) -> tuple[Any, PreTrainedTokenizerBase]:
        """The base model as the recipe wants it, and its tokenizer."""
        ladder, rung = resolve(self.cell.model_id)
        return ladder.load(
            rung.model_id,
            quantization=self._quantization,
            dtype=self._dtype(),
            device=self.device,
            trust_remote_code=self.cell.trust_remote_code,
            attention=None if self.cell.train.attention == "auto" else self.cell.train.attention,
        )

    @property
    def _quantization(self) -> str | None:
        return None if self.cell.train.quantization == "none" else self.cell.train.quantization

    def _dtype(self) -> str:
        import torch

        if self.cell.train.dtype != "auto":
            return self.cell.train.dtype
        return "bfloat16" if self.computes_on.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"

    def check(self, config: Any) -> None:
        """Refuses what can't be trained, before anything is spent on it."""
        from astraios.collect import distributed

        self.method.check(
            config,
            self.cell.settings,
            self.cell.train.steps,
            sequence_length=self.cell.data.sequence_length,
            quantization=self._quantization,
        )
        distributed.check(self.cell, self.method)

    def trainer(self, base: Any, packed: instruction_data.PackedData, **hooks: Any) -> Trainer:
        """The loop over the tuned model; `hooks` are those of Trainer."""
        import torch

        from astraios.collect.train import Trainer

        cell, spec = self.cell, self.cell.train
        self.check(base.config)
        if spec.gradient_checkpointing:
            base.activation_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(cell.seed)
        model = self.method.attach(base, cell.settings, spec.steps)
        assert spec.learning_rate is not None  # filled in by the sweep
        return Trainer(
            model,
            packed,
            spec,
            method=self.method,
            settings=dict(cell.settings),
            learning_rate=spec.learning_rate,
            seed=cell.seed,
            **hooks,
        )


class _Work:
    """The steps of a cell; `rows` and `ending` are filled as facts become known, so that a failure records them."""

    def __init__(
        self,
        cell: Cell,
        directory: RunDirectory,
        report: Report,
        device: str,
        rows: dict[str, Any],
        ending: dict[str, Any],
    ) -> None:
        import torch

        self.cell, self.directory, self.report, self.rows, self.ending = cell, directory, report, rows, ending
        self.method = METHODS.get(cell.method_id)
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.training = Training(cell, self.device)
        self.keep = KeepSpec(**json.loads(rows["sweep_json"]).get("keep", {}))
        torch.set_num_threads(cell.threads)

    def run(self) -> None:
        started = time.perf_counter()
        facts = describe(self.cell)
        self.rows |= facts.rows()
        environment = current(self.device)
        self.rows["environment"] = {
            "environment_id": environment.environment_id,
            **dataclasses.asdict(environment),
        }
        self.ending["environment_id"] = environment.environment_id
        if facts.problem:
            raise CellError(facts.problem)
        self._prepare(facts)
        self.report("loading", 0, 1)
        model, tokenizer = self.training.load_base()
        packed, dataset, held_out = prepared_data(self.cell, tokenizer)
        self.rows["dataset"] = dataclasses.asdict(dataset)
        self.rows["run"] |= {
            "dataset_id": dataset.dataset_id,
            "bytes_per_token": dataset.bytes_per_token,
        }
        tuned, cost = self._tuned(model, packed, facts, environment.environment_id)
        tasks = self._score(tuned, tokenizer, held_out)
        self.ending |= {
            **cost,
            "state": "done",
            "finished_at": utc_now(),
            "wall_seconds": cost["tuning_seconds"] + sum(seconds for _, seconds in tasks.values()),
            "setup_seconds": max(0.0, time.perf_counter() - started - cost["tuning_seconds"]),
            "checkpoint_bytes": sum(f.stat().st_size for f in self.directory.adapter_path.rglob("*") if f.is_file()),
        }
        price = json.loads(self.rows["sweep_json"]).get("compute", {}).get("price_per_device_hour")
        if price is not None:
            self.ending["price"] = price * cost["device_seconds"] / 3600
        self.directory.finish(self.rows, self.ending, tasks)
        from astraios.collect.checkpoint import Checkpoint

        Checkpoint(self.directory.checkpoint_path).remove()

    def _finished_before(self) -> dict[str, Any] | None:
        """The record of an earlier try that finished training and left the tuned model, or None."""
        manifest = self.directory.manifest()
        if manifest is None or manifest["state"] != "done" or not self.directory.adapter_path.is_dir():
            return None
        return dict(manifest["rows"]["attempts"][-1])

    def _prepare(self, facts: Plan) -> None:
        """What is refused is refused before anything is loaded; what several processes train, they train here."""
        from astraios.collect import distributed

        if self._finished_before() is not None:
            return
        ladder, rung = resolve(self.cell.model_id)
        self.training.check(ladder.config(rung.model_id))
        check_disk([facts], self.keep, self.directory.path.parent)
        if self.cell.train.processes > 1:
            distributed.train(self.cell, self.directory.path, self.device, self.report)

    def _tuned(
        self, base: Any, packed: instruction_data.PackedData, facts: Plan, environment_id: str
    ) -> tuple[nn.Module, dict[str, Any]]:
        """The tuned model and what tuning it cost: trained, or loaded where an earlier try had finished."""
        from astraios.collect.flops import matmul_rate

        known = self._finished_before()
        if known is not None:
            return self.method.load(base, self.directory.adapter_path), {name: known.get(name) for name in COSTS}
        model, state = self._train(base, packed)
        spec = self.cell.train
        device_seconds = state.train_seconds * spec.processes
        rate = matmul_rate(environment_id, self.device, self.cell.threads)
        return model, {
            "tuning_seconds": state.train_seconds + state.eval_seconds,
            "device_seconds": device_seconds,
            "tokens_per_second": facts.n_tokens / state.train_seconds,
            "peak_memory_bytes": state.peak_memory_bytes,
            "matmul_flops_per_second": rate,
            "model_flops_utilisation": facts.train_flops / device_seconds / rate,
        }

    def _train(self, base: Any, packed: instruction_data.PackedData) -> tuple[nn.Module, Any]:
        from astraios.collect.checkpoint import Checkpoint

        checkpoint = Checkpoint(self.directory.checkpoint_path)
        trainer = self.training.trainer(
            base,
            packed,
            on_loss=self.directory.append_loss,
            on_step=lambda step: self.report("training", step, self.cell.train.steps),
            save=checkpoint.save,
        )
        if state := checkpoint.load():
            trainer.restore(state)
        state = trainer.run()
        trainer.lower_precision()
        if is_kept(self.method.kind, self.keep):
            self.method.save(trainer.model, self.directory.adapter_path)
        return trainer.model, state

    def _score(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, held_out: list[Record]
    ) -> dict[str, tuple[TaskResult, float]]:
        cell = self.cell
        results: dict[str, tuple[TaskResult, float]] = {}
        self.rows["tasks"] = [TASKS.get(name).describe() for name in cell.tasks]
        n_virtual = self.method.n_virtual_tokens(cell.settings)
        for number, name in enumerate(cell.tasks):
            self.report(f"scoring {name}", number, len(cell.tasks))
            known = self.directory.read_task(name)
            if known is None:
                tuned = TunedModel(
                    model=model,
                    tokenizer=tokenizer,
                    n_virtual=n_virtual,
                    n_positions=min(positions(model.config) - n_virtual, cell.data.sequence_length),
                    data=cell.data,
                    held_out=held_out,
                    seed=cell.seed,
                    options={"folder": str(self.directory.path / "tasks"), **cell.task_options.get(name, {})},
                )
                start = time.perf_counter()
                result = TASKS.get(name).evaluate(tuned)
                known = result, time.perf_counter() - start
                self.directory.write_task(name, *known)
            results[name] = known
        return results


def positions(config: Any) -> int:
    """Longest sequence that an architecture reads."""
    found = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return int(found or 1 << 30)


def prepared_data(
    cell: Cell, tokenizer: PreTrainedTokenizerBase
) -> tuple[instruction_data.PackedData, instruction_data.DatasetRecord, list[Record]]:
    """Packed blocks, their record and the held-out records; packed once for all cells of a machine.

    Raises:
        DataError: the data can't be had or don't fill a block.
    """
    import hashlib

    import torch

    content = json.dumps([PACKING, dataclasses.asdict(cell.data), cell.data_identity, tokenizer.name_or_path])
    vocabulary = hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()
    key = hashlib.sha256((content + vocabulary).encode()).hexdigest()[:24]
    file = cache_dir() / "data" / f"{key}.pt"
    with exclusive(file.with_suffix(".lock"), wait=math.inf, what="the packed data"):
        if not file.is_file():
            source = instruction_data.load(cell.data)
            packed, record = instruction_data.prepare(cell.data, source, tokenizer)
            bundle = {
                "packed": dataclasses.asdict(packed),
                "record": dataclasses.asdict(record),
                "held_out": [(r.prompt, r.completion) for r in source.test],
            }
            temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
            torch.save(bundle, temporary)
            os.replace(temporary, file)
        bundle = torch.load(file, weights_only=True)
    return (
        instruction_data.PackedData(**bundle["packed"]),
        instruction_data.DatasetRecord(**bundle["record"]),
        [Record(*pair) for pair in bundle["held_out"]],
    )
