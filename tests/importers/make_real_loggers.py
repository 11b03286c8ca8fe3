"""Parts of make_real.py that log by hand: restarts, rewinds and crashes, and Lightning with its four loggers.

Each truth is a run: its name (or id), and the test losses that count in the end, by step.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

QUIET = {
    "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_X_DISABLE_META": "true", "WANDB_X_DISABLE_STATS": "true",
    "WANDB_DISABLE_GIT": "true", "WANDB_DISABLE_CODE": "true", "WANDB_CONSOLE": "off", "WANDB_HOST": "machine",
    "WANDB_X_SAVE_REQUIREMENTS": "false",
}  # fmt: skip


def line(start: float, steps: Iterable[int]) -> dict[int, float]:
    """A loss that falls by a hundredth a step."""
    return {step: round(start - step / 100, 6) for step in steps}


def truth(**runs: dict[int, float]) -> list[dict[str, Any]]:
    return [{"name": name, "test": sorted(losses.items())} for name, losses in runs.items()]


WANDB_PARTS: list[tuple[str, dict[int, float], dict[str, Any]]] = [
    ("rewound", line(4, range(10)), {}),
    ("rewound", line(3, range(5, 8)), {"resume_from": "rewound?_step=4"}),
    ("forked", line(2, range(5, 8)), {"fork_from": "rewound?_step=4"}),
    ("resumed", line(4, range(5)), {}),
    ("resumed", line(4, range(5, 9)), {"resume": "allow"}),
    ("crashed", line(4, range(200)), {"killed": True}),
    ("restarted", line(4, range(200)), {"killed": True}),
    ("restarted", line(3, range(30, 60)), {"resume": "must"}),
]
"""Processes one after the other: run, losses by step, and what the run is begun with."""


def wandb(out: Path) -> list[dict[str, Any]]:
    """W&B: rewound, forked, resumed, killed, and killed and resumed from an earlier step."""
    code = (
        "import json, os, signal, sys, time, wandb\n"
        "name, losses, begun = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])\n"
        "killed = begun.pop('killed', False)\n"
        "run = wandb.init(project='p', id=name, name=name, config={'learning_rate': 1e-3, 'seed': 7}, **begun)\n"
        "for step, loss in losses: run.log({'eval/loss': loss, 'train/loss': loss + 1}, step=step)\n"
        "if killed:\n    time.sleep(2)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "run.finish()\n"
    )
    for name, losses, begun in WANDB_PARTS:
        given = [name, json.dumps(sorted(losses.items())), json.dumps(begun)]
        ended = subprocess.run([sys.executable, "-c", code, *given], env={**os.environ, **QUIET, "WANDB_DIR": str(out)})
        assert ended.returncode == (-signal.SIGKILL if begun.get("killed") else 0)
        subprocess.run(["sleep", "1.1"], check=True)  # the folder's name holds the second
    kept = line(4, range(10))
    return truth(
        rewound={**{step: kept[step] for step in range(5)}, **line(3, range(5, 8))},
        forked={**{step: kept[step] for step in range(5)}, **line(2, range(5, 8))},
        resumed=line(4, range(9)),
        crashed=line(4, range(200)),  # as far as W&B had written it
        restarted={**line(4, range(30)), **line(3, range(30, 60))},
    )


def mlflow(out: Path) -> list[dict[str, Any]]:
    """MLflow: a database whose last rows lie in its write-ahead log, nested runs, a run that failed, one deleted."""
    import sqlite3

    import mlflow as tool

    tool.set_tracking_uri(f"sqlite:///{out}/mlflow.db")
    tool.set_experiment("sweep")
    with sqlite3.connect(out / "mlflow.db") as connection:
        connection.execute("pragma journal_mode=wal")
    log_mlflow(tool)
    # A reader keeps the log from being folded into the database when the process ends.
    with sqlite3.connect(out / "mlflow.db") as connection:
        connection.execute("begin")
        connection.execute("select count(*) from runs").fetchone()
        with tool.start_run(run_name="late"):
            for step, loss in line(5, range(4)).items():
                tool.log_metric("eval_loss", loss, step=step)
        for part in ("mlflow.db", "mlflow.db-wal"):
            (out / "kept").mkdir(exist_ok=True)
            (out / "kept" / part).write_bytes((out / part).read_bytes())
    return truth(parent=line(4, range(6)), child=line(3, range(6)), failed=line(2, range(3)), late=line(5, range(4)))


def mlflow_files(out: Path) -> list[dict[str, Any]]:
    """MLflow's file store with the same runs."""
    import mlflow as tool

    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    tool.set_tracking_uri(f"file://{out}/mlruns")
    tool.set_experiment("sweep")
    log_mlflow(tool)
    return truth(parent=line(4, range(6)), child=line(3, range(6)), failed=line(2, range(3)))


def log_mlflow(tool: Any) -> None:
    """A run, one nested in it, one that fails half-way, and one that is deleted."""
    with tool.start_run(run_name="parent"):
        tool.log_params({"learning_rate": 1e-3, "seed": 7})
        for step, loss in line(4, range(6)).items():
            tool.log_metrics({"eval_loss": loss, "loss": loss + 1}, step=step)
        tool.log_metric("throughput", 3.0, step=1_795_000_000_000)  # milliseconds, as some callbacks log them
        with tool.start_run(run_name="child", nested=True):
            for step, loss in line(3, range(6)).items():
                tool.log_metric("eval_loss", loss, step=step)
    try:
        with tool.start_run(run_name="failed"):
            for step, loss in line(2, range(3)).items():
                tool.log_metric("eval_loss", loss, step=step)
            raise RuntimeError("out of memory")
    except RuntimeError:
        pass
    with tool.start_run(run_name="deleted") as run:
        tool.log_metric("eval_loss", 9.0, step=0)
    tool.delete_run(run.info.run_id)


def tensorboard(out: Path) -> list[dict[str, Any]]:
    """TensorBoard: restarts with a purge step and without, and `add_scalars`, whose lines are folders of their own."""
    from torch.utils.tensorboard import SummaryWriter

    def write(name: str, losses: dict[int, float], purge: int | None = None) -> None:
        writer = SummaryWriter(out / name, purge_step=purge)
        for step, loss in losses.items():
            writer.add_scalar("Loss/valid", loss, step)
            writer.add_scalar("Loss/train", loss + 1, step)
        writer.close()
        subprocess.run(["sleep", "1.1"], check=True)  # the file's name holds the second

    write("purged", line(4, range(0, 100, 10)))
    write("purged", line(3, range(50, 80, 10)), purge=50)
    write("resumed", line(4, range(0, 50, 10)))
    write("resumed", line(4, range(50, 80, 10)))
    writer = SummaryWriter(out / "lines")
    for step, loss in line(4, range(5)).items():
        writer.add_scalars("loss", {"train": loss + 1, "valid": loss}, step)
    writer.close()
    return truth(
        purged={**line(4, range(0, 50, 10)), **line(3, range(50, 80, 10))},
        resumed=line(4, range(0, 80, 10)),
        lines=line(4, range(5)),
    )


def lightning(out: Path) -> list[dict[str, Any]]:
    """One training of Lightning with its CSV, TensorBoard, MLflow and W&B loggers at once."""
    import lightning as tool
    import torch
    from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

    os.environ.update(QUIET)

    class Model(tool.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, learning_rate: float = 1e-2, seed: int = 7) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.body = torch.nn.Linear(4, 4)
            self.kept: dict[int, float] = {}

        def loss(self, batch: Any) -> Any:
            return torch.nn.functional.cross_entropy(self.body(batch[0]), batch[1])

        def training_step(self, batch: Any, place: int) -> Any:
            loss = self.loss(batch)
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, place: int) -> None:
            self.log("val_loss", self.loss(batch))

        def on_validation_epoch_end(self) -> None:
            if not self.trainer.sanity_checking:
                self.kept[self.global_step - 1] = float(self.trainer.callback_metrics["val_loss"])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.hparams["learning_rate"])

    tool.seed_everything(7)
    data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randint(0, 4, (64,)))
    loader = torch.utils.data.DataLoader(data, batch_size=8)
    loggers = [
        CSVLogger(str(out), name="csv"), TensorBoardLogger(str(out), name="board"),
        MLFlowLogger("lit", tracking_uri=f"sqlite:///{out}/mlflow.db"),
        WandbLogger(project="lit", save_dir=str(out), offline=True, id="lit"),
    ]  # fmt: skip
    model = Model()
    work = tool.Trainer(
        max_epochs=3, logger=loggers, log_every_n_steps=4, accelerator="cpu", enable_progress_bar=False,
        enable_checkpointing=False,
    )  # fmt: skip
    work.fit(model, loader, loader)
    import wandb as tracker

    tracker.finish()
    return truth(lit=model.kept)


PARTS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "wandb": wandb, "mlflow": mlflow, "mlflow_files": mlflow_files, "tensorboard": tensorboard, "lightning": lightning,
}  # fmt: skip
