"""Lightning: `Trainer(logger=AstraiosLogger(dataset="mine@v3"))`.

Sizes, adapter and method are read from the module when training begins, the rest from its hyperparameters under their
usual names; arguments of `astraios.init` go before both.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from astraios.track.begin import init, reopen
from astraios.track.facts import Facts
from astraios.track.model import model_facts
from astraios.track.run import Run


class AstraiosLogger(Logger):  # type: ignore[misc]
    """A logger of Lightning that writes a run of astraios.

    Args:
        out: folder or URL of the run directories; else $ASTRAIOS_RUNS, else runs.
        facts: arguments of `astraios.init` that go before what the module says.
    """

    def __init__(self, out: str | Path | None = None, **facts: Any) -> None:
        super().__init__()
        self.out, self.given = out, facts
        self._config: dict[str, Any] = {}
        self._known: Facts | None = None
        self._run: Run | None = None

    @property
    def name(self) -> str:
        """The project, where one is named."""
        return str(self.given.get("project") or "astraios")

    @property
    def version(self) -> str:
        """The run's id; empty before there is one."""
        return self._run.id if self._run else str(self.given.get("id") or "")

    @property
    def experiment(self) -> Run | None:
        """The run; None until training begins, for Lightning asks before it has shown the module."""
        return self._run

    def _open(self) -> Run:
        if self._run is None:
            config = {**self._config, **(self.given.get("config") or {})}
            mode = {} if rank_zero_only.rank == 0 else {"mode": "disabled"}
            self._run = init(out=self.out, facts=self._known, **{**self.given, "config": config, **mode})
        elif not self._run.is_open and self._run.path is not None:
            self._run = reopen(self._run.id, self.out)  # A test after training.
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Keeps hyperparameters for the run's configuration."""
        self._config |= vars(params) if isinstance(params, Namespace) else dict(params)

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Reads the facts of the module; Lightning calls this when training begins."""
        self._known = model_facts(model)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keeps what was logged, at Lightning's global step."""
        self._open().log(metrics, step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Ends the run; failed where Lightning says so."""
        if self._run is not None:
            self._run.finish(None if status == "success" else f"Lightning ended with status {status}")
