"""What one process of a sweep does: `astraios collect --cell CELL.json --out DIR`.

CELL.json is written by the plan and says all that the process needs; the process writes one run directory, and its exit
code says how it went: 0 done, 1 failed with the reason in the run directory and on stderr, 2 a CELL.json that makes no
sense. It can be killed at any moment and started again, there or elsewhere, with the same CELL.json.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.collect.cell.run import Report, run_cell
from astraios.collect.cell.training import check_identity
from astraios.collect.plan.cell_plan import Plan
from astraios.collect.plan.job import STAGES, Job
from astraios.collect.plan.sweep import ComputeSpec
from astraios.errors import UsageError
from astraios.evaluate.tasks import TASKS
from astraios.models.ladders import LADDERS, resolve
from astraios.models.methods import METHODS
from astraios.records import TABLES
from astraios.runs.parquet import parquet_bytes
from astraios.runs.place import Place, is_url
from astraios.train.large_pages import ask_for_large_pages

FORMAT = 1
"""Version of CELL.json."""
PARENT = "ASTRAIOS_LAUNCHER"
"""Environment variable: set, the process ends when the one that started it does."""
LOCK_PATIENCE_S = 60.0
"""How long a process that replaces a lost one waits for it to let go of the run directory."""


@dataclass(frozen=True)
class Request:
    """CELL.json."""

    key: str
    stage: str
    """base, train, evaluate, or cell (both in one process)."""
    model_id: str
    plan: Plan | None
    """None: prepare the base model."""
    sweep_json: str
    device: str
    time_limit_minutes: float | None
    folder: str
    """Where the plan was made: local models and data are named from there."""

    @classmethod
    def of(cls, job: Job, sweep_json: str, compute: ComputeSpec) -> Request:
        """What a job's process is told."""
        return cls(
            key=job.key,
            stage=job.stage,
            model_id=job.model_id,
            plan=job.plan,
            sweep_json=sweep_json,
            device=compute.device,
            time_limit_minutes=compute.time_limit_minutes,
            folder=os.getcwd(),
        )

    def to_json(self) -> str:
        """The content of CELL.json."""
        content: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        content["plan"] = self.plan.to_state() if self.plan else None
        return json.dumps({"format": FORMAT, **content})

    @classmethod
    def read(cls, path: Path) -> Request:
        """What `to_json` gave.

        Raises:
            UsageError: the file can't be read or is no CELL.json.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
                raise UsageError(f"{path}: not a cell that this astraios can run; have it planned again")
            if content["stage"] not in STAGES:
                raise UsageError(f"{path}: unknown stage {content['stage']!r}")
            content["plan"] = Plan.from_state(content["plan"]) if content["plan"] else None
            return cls(**content)
        except OSError as error:
            raise UsageError(f"{path}: can't be read ({error.strerror})") from None
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{path}: not a cell of a sweep ({type(error).__name__}: {error})") from None


def get_ready() -> None:
    """Imports and works out what any cell needs, for the processes that are forked off this one.

    Each step is an economy: what fails here, a cell does (and reports) for itself.
    """
    for step in (_import_libraries, _compile_mapping, _find_registered, _write_nothing):
        with contextlib.suppress(Exception):
            step()


def _import_libraries() -> None:
    import torch  # noqa: F401
    from peft.tuners.lora import bnb  # noqa: F401
    from transformers.models.gpt_bigcode import modeling_gpt_bigcode  # noqa: F401


def _compile_mapping() -> None:
    """A thousand regular expressions, which transformers compiles for the first model that it loads."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("gpt_bigcode")


def _find_registered() -> None:
    for registry in (LADDERS, METHODS, TASKS):
        registry.names()


def _write_nothing() -> None:
    """Arrow imports pandas, where that is installed, for the first column that it makes."""
    parquet_bytes(TABLES["loss_point"], (), 1)


def perform(request: Request, out: str, report: Report, lock_wait: float = 10.0) -> None:
    """Does what a request asks for, in this process.

    Args:
        request: CELL.json.
        out: folder of the run directories, or its URL.
        report: told of the progress.
        lock_wait: seconds to wait for another process that has this cell in hand.

    Raises:
        AstraiosError: it failed; a cell's reason stands in its run directory too.
    """
    ask_for_large_pages()
    # A GPU's memory is cut up less by pieces that can grow; torch reads it when it first uses the GPU.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    if request.plan is None:
        import torch

        torch.set_num_threads(1)
        ladder, rung = resolve(request.model_id)
        ladder.prepare(rung.model_id, lambda done, total: report("pretraining", done, total))
        return
    minutes, run_id = request.time_limit_minutes, request.plan.cell.run_id
    place = Place(out, "work")
    place.fetch(run_id, whole=True)
    try:
        run_cell(
            request.plan.cell,
            request.sweep_json,
            place.path,
            report,
            request.device,
            train_only=request.stage == "train",
            facts=request.plan,
            time_limit=minutes * 60 if minutes else None,
            lock_wait=lock_wait,
            keep_safe=lambda: place.push(run_id),
        )
    finally:
        place.push(run_id)


def run_file(path: Path, out: str, report: Report) -> None:
    """`astraios collect --cell`: what launchers start on other machines.

    Raises:
        UsageError: CELL.json makes no sense.
        AstraiosError: the cell failed; the reason stands in its run directory too.
    """
    request, out = Request.read(path.resolve()), out if is_url(out) else str(Path(out).resolve())
    if os.environ.get(PARENT):
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(OSError):
        os.chdir(request.folder)
    if request.plan is not None:
        check_identity(request.plan.cell)
    perform(request, out, report, LOCK_PATIENCE_S)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
