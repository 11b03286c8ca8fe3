"""Training one cell with several processes, a device each, under torchrun; on one machine or on several.

The first process of the first machine has the run directory, the checkpoint and the whole model; the others get from it
what they need. Each of several machines runs `astraios collect` with `--machine K/N`, and the first one goes on with
tasks and records when the training is over.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError, UsageError, one_line

if TYPE_CHECKING:
    from astraios.collect.plan.cell_plan import Plan
    from astraios.collect.plan.sweep import Cell

_PARENT = "ASTRAIOS_PARENT"
_MACHINES = "ASTRAIOS_MACHINES"
PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: the first one may have a checkpoint of 200 GB to write."""


@dataclass(frozen=True)
class Machines:
    """Those that train a cell together."""

    number: int = 0
    """This one's, from 0."""
    count: int = 1
    address: str = ""
    """HOST:PORT of the first, where they meet."""

    @classmethod
    def of(cls, share: str, address: str) -> Machines:
        """From K/N (from 0) and HOST:PORT.

        Raises:
            UsageError: either makes no sense.
        """
        number, _, count = share.partition("/")
        host, _, port = address.rpartition(":")
        if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
            raise UsageError(f"--machine {share!r}: K/N with K from 0 to N - 1, such as 0/2 and 1/2")
        if not (host and port.isdecimal()):
            raise UsageError(f"--meet {address!r}: HOST:PORT of machine 0, with a port that is free there")
        return cls(int(number), int(count), address)

    @classmethod
    def here(cls) -> Machines:
        """What the command that started this process was told; one machine otherwise."""
        return cls(**json.loads(os.environ.get(_MACHINES, "{}")))

    def tell_children(self) -> None:
        """Lets the processes that this one starts know."""
        os.environ[_MACHINES] = json.dumps(vars(self))

    def torchrun(self, processes: int) -> list[str]:
        """torchrun's arguments on this machine.

        Raises:
            CellError: the processes can't be shared out evenly.
        """
        if processes % self.count:
            raise CellError(f"[train] processes = {processes} can't be shared out evenly over {self.count} machines")
        own = ["--nproc-per-node", str(processes // self.count)]
        if self.count == 1:
            return ["--standalone", *own]
        host, _, port = self.address.rpartition(":")
        places = ["--nnodes", str(self.count), "--node-rank", str(self.number)]
        return [*places, *own, "--master-addr", host, "--master-port", port]


def check_machines(plans: Sequence[Plan]) -> Cell:
    """The one cell that several machines are to train.

    Raises:
        UsageError: there are more, or a single process trains it; or it can't be trained at all.
    """
    if len(plans) != 1:
        raise UsageError(f"--machine: machines train one cell together, and {len(plans)} are left: name it with --only")
    [plan] = plans
    Machines.here().torchrun(plan.cell.train.processes)
    if plan.cell.train.processes == 1:
        raise UsageError("--machine: set [train] processes to the devices of all machines together")
    if plan.problem:
        raise UsageError(plan.problem)
    return plan.cell


def train(
    cell: Cell,
    directory: Path,
    device: str,
    report: Callable[[str, int, int], None],
    micro_batch: int | None = None,
) -> None:
    """Trains a cell whose run directory has been started, from its checkpoint to its last step.

    Args:
        cell: what is asked for.
        directory: its run directory; losses and checkpoints go there.
        device: cpu or cuda.
        report: told of the progress.
        micro_batch: blocks in one forward pass, where the recipe leaves them to the device; the first machine's count.

    Raises:
        CellError: a process failed; the reason of the first that said one.
    """
    # The module by its name, because as a program this one is called __main__.
    module = "astraios.collect.cell.distributed"
    command = [sys.executable, "-m", "torch.distributed.run", *Machines.here().torchrun(cell.train.processes)]
    command += ["-m", module, str(directory), device, str(micro_batch or cell.train.least_blocks)]
    environment = {**os.environ, _PARENT: str(os.getpid()), "OMP_NUM_THREADS": str(cell.threads)}
    reason = last = ""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            for line in process.stdout or ():
                with contextlib.suppress(ValueError):
                    news = json.loads(line)
                    if "step" in news:
                        report("training", news["step"], cell.train.steps)
                    reason = reason or news.get("failed", "")
                    continue
                last = line.strip() or last
        finally:
            if process.poll() is None:
                process.terminate()
    if process.returncode:
        raise CellError(reason or f"its {cell.train.processes} processes ended with {process.returncode}: {last[:300]}")


def main(arguments: list[str]) -> int:
    """What each process does: RUN_DIRECTORY cpu|cuda MICRO_BATCH."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        directory, device, micro_batch = arguments
        _train_part(Path(directory), _joined(device), int(micro_batch))
    except Exception as error:
        # At once, and without leaving the group in good order: the others may sit in a collective for hours.
        _tell({"failed": one_line(error)})
        os._exit(1)
    import torch.distributed as dist

    dist.destroy_process_group()
    return 0


def _joined(device: str) -> str:
    """Joins the others; gives this process's device."""
    import torch
    import torch.distributed as dist

    from astraios.models.devices import found_device

    if device == "auto":
        device = found_device()
    if device.startswith("cuda"):
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise CellError(f"[train] processes wants more devices than the {torch.cuda.device_count()} that are here")
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    # What is on the CPU travels too: the tensors of a checkpoint.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    return device


def _train_part(directory: Path, device: str, micro_batch: int) -> None:
    import torch

    from astraios.collect.cell.training import Training, prepared_data
    from astraios.runs.directory import RunDirectory
    from astraios.train.checkpoint import Checkpoint, KeptCheckpoints
    from astraios.train.group import Replicas, Shards

    cell, micro_batch = _told(directory, micro_batch)
    torch.set_num_threads(cell.threads)
    run, kind = RunDirectory(directory), device.partition(":")[0]
    group = Shards(kind) if cell.train.fsdp else Replicas()
    first = group.is_first
    # A model to be shared out is in main memory once, and goes to the devices share by share.
    training = Training(cell, "cpu" if cell.train.fsdp else device, computes_on=kind, micro_batch=micro_batch)
    base, tokenizer = training.load_base(bare=cell.train.fsdp and not first)
    packed, _, _ = prepared_data(cell, tokenizer)
    checkpoint = Checkpoint(run.checkpoint_path)

    def on_step(step: int) -> None:
        if first:
            _tell({"step": step})

    def save(state: Any) -> None:
        run.flush()
        KeptCheckpoints(run.kept_path).keep(state)
        checkpoint.save(state)

    def nothing(_: Any) -> None:
        return None

    trainer = training.trainer(
        base,
        packed,
        on_loss=run.append_loss if first else nothing,
        on_step=on_step,
        save=save if first else nothing,
        group=group,
    )
    # The trainer has its share: the whole model need not stay in main memory.
    del base
    trainer.restore(checkpoint.load() if first else None)
    trainer.run()


def _told(directory: Path, micro_batch: int) -> tuple[Cell, int]:
    """The cell and its blocks in one forward pass as the first process has them, on any machine.

    Raises:
        CellError: there are not as many processes as it asks for, or its data or base are others on this machine.
    """
    import torch.distributed as dist

    from astraios.collect.cell.training import check_identity
    from astraios.collect.plan.sweep import Cell

    told: list[Any] = [None, None]
    if dist.get_rank() == 0:
        told = [(directory / "cell.json").read_text(encoding="utf-8"), micro_batch]
    dist.broadcast_object_list(told, 0)
    cell = Cell.from_json(told[0])
    if dist.get_world_size() != cell.train.processes:
        raise CellError(
            f"{dist.get_world_size()} processes were started for a cell with [train] processes = "
            f"{cell.train.processes}: its batches would not be shared out evenly"
        )
    check_identity(cell)
    return cell, told[1]


def _tell(news: dict[str, Any]) -> None:
    """A line for the process that started this one; one write, so that lines of several processes don't mix."""
    os.write(1, f"{json.dumps(news)}\n".encode())


def _end_with_parent() -> None:
    """Ends this process when the command that started it is gone, also while the others are waited for: who tries the
    cell again must find the devices free."""
    while not _orphaned():
        time.sleep(0.5)
    os._exit(1)


def _orphaned() -> bool:
    """Whether the command that started this has ended."""
    parent = os.environ.get(_PARENT)
    if parent is None:
        return False
    try:
        os.kill(int(parent), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
