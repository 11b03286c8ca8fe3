"""Accelerate: `Accelerator(log_with=AstraiosTracker(model=model, dataset="mine@v3"))`.

The facts are arguments of `astraios.init`; `model` may be the model itself. `init_trackers` begins the run, with the
project's name and configuration; `end_training` ends it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, on_main_process

from astraios.track.begin import init
from astraios.track.run import Run


class AstraiosTracker(GeneralTracker):  # type: ignore[misc]
    """A tracker of Accelerate that writes a run of astraios.

    Args:
        model: base model by its name, or the model itself before it is prepared.
        out: folder or URL of the run directories; else $ASTRAIOS_RUNS, else runs.
        facts: more arguments of `astraios.init`.
    """

    name = "astraios"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, model: Any = None, out: str | Path | None = None, **facts: Any) -> None:
        super().__init__()
        self.given = {"model": model, "out": out, **facts}
        self.run: Run | None = None

    @property
    def tracker(self) -> Run | None:
        """The run, once there is one."""
        return self.run

    def _begun(self) -> Run:
        if self.run is None:
            self.run = init(**self.given)
        return self.run

    @on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Begins the run with the configuration that the script gives."""
        self.given["config"] = {**(self.given.get("config") or {}), **values}
        self._begun()

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Keeps what was logged."""
        self._begun().log(values, step=step, **kwargs)

    @on_main_process
    def finish(self) -> None:
        """Ends the run."""
        if self.run is not None:
            self.run.finish()
