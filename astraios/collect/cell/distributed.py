"""Training one cell with several processes, a device each, under torchrun.

`train` starts them on this machine. On several machines, start the same module under torchrun yourself, on each:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:PORT \\
        -m astraios.collect.cell.distributed RUNS/RUN_ID

and run `astraios collect` afterwards, which finds the training done and goes on with tasks and records.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError, one_line

if TYPE_CHECKING:
    from astraios.collect.plan.sweep import Cell

_PARENT = "ASTRAIOS_PARENT"


def train(cell: Cell, directory: Path, device: str, report: Callable[[str, int, int], None]) -> None:
    """Trains a cell whose run directory has been started, from its checkpoint to its last step.

    Args:
        cell: what is asked for.
        directory: its run directory; losses and checkpoints go there.
        device: cpu or cuda.
        report: told of the progress.

    Raises:
        CellError: a process failed; the reason of the first that said one.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(cell.train.processes), "-m", __name__, str(directory), device]
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
    """What each process does: RUN_DIRECTORY [cpu|cuda]."""
    directory = Path(arguments[0])
    try:
        with _process_group(arguments[1] if len(arguments) > 1 else "auto") as device:
            _train_part(directory, device)
    except Exception as error:
        _tell({"failed": one_line(error)})
        return 1
    return 0


@contextlib.contextmanager
def _process_group(device: str) -> Iterator[str]:
    """Joins the others; gives this process's device."""
    import torch
    import torch.distributed as dist

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise CellError(f"[train] processes wants more devices than the {torch.cuda.device_count()} that are here")
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _train_part(directory: Path, device: str) -> None:
    import torch

    from astraios.collect.cell.training import Training, prepared_data
    from astraios.collect.plan.sweep import Cell
    from astraios.runs.directory import RunDirectory
    from astraios.train.checkpoint import Checkpoint
    from astraios.train.group import Replicas, Shards

    cell = Cell.from_json((directory / "cell.json").read_text(encoding="utf-8"))
    torch.set_num_threads(cell.threads)
    run = RunDirectory(directory)
    kind = device.partition(":")[0]
    group = Shards(kind) if cell.train.fsdp else Replicas()
    # A model to be shared out is read into main memory and goes to the devices share by share.
    training = Training(cell, "cpu" if cell.train.fsdp else device, computes_on=kind)
    base, tokenizer = training.load_base()
    packed, _, _ = prepared_data(cell, tokenizer)
    first = group.rank == 0
    checkpoint = Checkpoint(run.checkpoint_path)

    def on_step(step: int) -> None:
        if _orphaned():
            os._exit(1)
        if first:
            _tell({"step": step})

    def save(state: Any) -> None:
        run.flush()
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
    if state := checkpoint.load():
        trainer.restore(state)
    trainer.run()


def _tell(news: dict[str, Any]) -> None:
    """A line for the process that started this one; one write, so that lines of several processes don't mix."""
    os.write(1, f"{json.dumps(news)}\n".encode())


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
