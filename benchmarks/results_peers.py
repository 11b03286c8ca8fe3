"""One tool's writer, in a process of its own: `python results_peers.py TOOL RUNS STEPS FOLDER`.

Prints one line of JSON: points, CPU seconds while logging, bytes on disk. Run by results.py with the interpreter that
has the tools. Counted are all threads of this process, and its children once they have ended: Trackio writes from a
thread, W&B from a process that it ends. Left out are imports and the making of the losses, and for whoever would
watch the machine beside the run, that.
"""

from __future__ import annotations

import csv
import json
import math
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def loss(run: int, step: int) -> float:
    """A curve that does not compress to nothing."""
    return 1.5 + 3 * (step + 1) ** -0.3 + 0.01 * math.sin(12.9898 * step + 78.233 * run)


Curves = Sequence[Sequence[float]]
"""The losses of each run, step by step."""


def astraios(curves: Curves, folder: Path) -> Callable[[], None]:
    from astraios.records import LossPoint
    from astraios.runs.directory import RunDirectory

    def log() -> None:
        for run, curve in enumerate(curves):
            directory = RunDirectory(folder / f"run{run}")
            directory.start("{}")
            for step, value in enumerate(curve):
                directory.append_loss(LossPoint("test", step, 1024 * step, value))
            directory.flush()

    return log


ENDING = {"seconds": 0.0}
"""CPU seconds that went into ending runs, where a tool tells them apart."""


def track(curves: Curves, folder: Path) -> Callable[[], None]:
    """A run of one's own, begun, logged step by step and finished, Parquet and all."""
    import astraios

    with astraios.init(model="bench/a", method="lora", n_params=1e6, out=folder / "first") as first:
        first.log({"loss": 1.0})  # What a process does once: imports, the commit, the versions.

    def log() -> None:
        for run, curve in enumerate(curves):
            one = astraios.init(model="bench/a", method="lora", n_params=1e6, seed=run, out=folder, id=f"run{run}")
            for step, value in enumerate(curve):
                one.log({"loss": value}, step=step, tokens=1024 * step)
            before = cpu_seconds()
            one.finish()
            ENDING["seconds"] += cpu_seconds() - before

    return log


def csv_append(curves: Curves, folder: Path) -> Callable[[], None]:
    def log() -> None:
        for run, curve in enumerate(curves):
            with open(folder / f"run{run}.csv", "w", newline="") as file:
                writer = csv.writer(file)
                for step, value in enumerate(curve):
                    writer.writerow((step, 1024 * step, value))

    return log


def mlflow(curves: Curves, folder: Path) -> Callable[[], None]:
    import mlflow
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment("bench", artifact_location=str(folder / "artifacts"))
    assert mlflow

    def log() -> None:
        for curve in curves:
            run_id = client.create_run(experiment).info.run_id
            points = [Metric("loss", value, 1_700_000_000_000 + step, step) for step, value in enumerate(curve)]
            for begin in range(0, len(points), 1000):
                client.log_batch(run_id, metrics=points[begin : begin + 1000])
            client.set_terminated(run_id)

    return log


def wandb(curves: Curves, folder: Path) -> Callable[[], None]:
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(folder)}
    import wandb

    def log() -> None:
        for curve in curves:
            one = wandb.init(project="bench", dir=str(folder), settings=wandb.Settings(x_disable_stats=True))
            for step, value in enumerate(curve):
                one.log({"loss": value}, step=step)
            one.finish()
        wandb.teardown()

    return log


def tensorboard(curves: Curves, folder: Path) -> Callable[[], None]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    def log() -> None:
        for run, curve in enumerate(curves):
            writer = EventFileWriter(str(folder / f"run{run}"))
            for step, value in enumerate(curve):
                point = Summary.Value(tag="loss", simple_value=value)
                writer.add_event(Event(step=step, wall_time=1.7e9 + step, summary=Summary(value=[point])))
            writer.close()

    return log


def trackio(curves: Curves, folder: Path) -> Callable[[], None]:
    os.environ |= {"TRACKIO_DIR": str(folder), "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    import trackio

    def log() -> None:
        for run, curve in enumerate(curves):
            trackio.init(project="bench", name=f"run{run}", embed=False, auto_log_cpu=False, auto_log_gpu=False)
            for step, value in enumerate(curve):
                trackio.log({"loss": value}, step=step)
            trackio.finish()

    return log


TOOLS = {
    "astraios": astraios,
    "track": track,
    "csv": csv_append,
    "mlflow": mlflow,
    "wandb": wandb,
    "tensorboard": tensorboard,
    "trackio": trackio,
}


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main(tool: str, runs: int, steps: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    curves = [[loss(run, step) for step in range(steps)] for run in range(runs)]
    log = TOOLS[tool](curves, folder)
    before = cpu_seconds()
    log()
    seconds = cpu_seconds() - before
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(json.dumps({"points": runs * steps, "cpu_seconds": seconds, "bytes": size, "ending": ENDING["seconds"]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
