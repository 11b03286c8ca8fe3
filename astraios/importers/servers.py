"""Runs that live on a server, through the tool's own client: `wandb://ENTITY/PROJECT[/RUN]`, `mlflow:http://HOST`.

The client and its login are the user's; it is imported only when such a source is named. What it gives goes the way of
the tool's files, so that the same run from a server and from a file is one run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted, mlflow, wandb
from astraios.importers._curves import Series, fill
from astraios.importers._runs import Found, Skipped, imported
from astraios.records import TaskRow

_MOST = 10_000


@dataclass(frozen=True)
class WandbServer(Importer):
    """A project of W&B, or one run of it."""

    def matches(self, source: str) -> bool:
        return source.startswith("wandb://")

    def read(self, source: str, wanted: Wanted) -> Imported:
        skipped = Skipped(wanted.strict)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for remote in _wandb_runs(source.removeprefix("wandb://").strip("/")):
            with skipped.item(f"run {remote.name}"):
                run = wandb.remote_run(remote)
                one = wandb.found(run, wanted)
                tasks |= fill(one, wandb.series(run, wanted, skipped), wanted, skipped)
                found.append(one)
        return imported("wandb", found, wanted, skipped, tasks)


@dataclass(frozen=True)
class MLflowServer(Importer):
    """A tracking server of MLflow's."""

    def matches(self, source: str) -> bool:
        return source.startswith(("mlflow:http://", "mlflow:https://"))

    def read(self, source: str, wanted: Wanted) -> Imported:
        skipped = Skipped(wanted.strict)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for run in _mlflow_runs(source.removeprefix("mlflow:")):
            with skipped.item(f"run {run.name}"):
                one = mlflow.found(run, wanted, Path())
                tasks |= fill(one, run.metrics, wanted, skipped)
                found.append(one)
        return imported("mlflow", found, wanted, skipped, tasks)


wandb_server = WandbServer(name="wandb-server", title="Weights & Biases server", priority=20, maps=True)
mlflow_server = MLflowServer(name="mlflow-server", title="MLflow tracking server", priority=20, maps=True)


def _wandb_runs(path: str) -> Iterator[Any]:
    try:
        import wandb as client
    except ImportError:
        raise DataError("runs on a W&B server are read by W&B's own client: pip install wandb") from None
    parts = path.split("/")
    try:
        api = client.Api()
        yield from [api.run(path)] if len(parts) == 3 else api.runs(path)
    except Exception as error:  # whatever the client makes of a network, a login or a name
        raise DataError(f"wandb://{path}: {' '.join(str(error).split()):.160}") from None


def _mlflow_runs(address: str) -> Iterator[Any]:
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise DataError("runs on an MLflow server are read by MLflow's own client: pip install mlflow") from None
    try:
        client = MlflowClient(tracking_uri=address)
        for experiment in client.search_experiments():
            for one in client.search_runs([experiment.experiment_id], max_results=_MOST):
                yield _mlflow_run(client, one, experiment.name)
    except Exception as error:  # likewise
        raise DataError(f"mlflow:{address}: {' '.join(str(error).split()):.160}") from None


def _mlflow_run(client: Any, one: Any, experiment: str) -> Any:
    info = one.info
    metrics = []
    for name in one.data.metrics:
        history = sorted(client.get_metric_history(info.run_id, name), key=lambda point: point.timestamp)
        metrics.append(Series(name, [point.step for point in history], [point.value for point in history]))
    return mlflow.Run(
        info.run_id, info.run_name or info.run_id, experiment, info.status, info.start_time, info.end_time,
        dict(one.data.params), dict(one.data.tags), metrics,
    )  # fmt: skip
