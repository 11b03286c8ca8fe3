"""inspect_ai: `import astraios.track.inspect` in the file of a task, and its scores join a run.

The run is the one that this process logs; else the one that $ASTRAIOS_RUN names; else the one whose output directory is
the model (`--model hf/local -M model_path=FOLDER`), where the Trainer's callback left a note. The scores of a
checkpoint stand along training, at its step.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from inspect_ai.hooks import Hooks, TaskEnd, hooks

from astraios.track import note
from astraios.track.begin import reopen
from astraios.track.names import number
from astraios.track.run import Run, active

RUN = "ASTRAIOS_RUN"
"""Environment variable that names the run that is evaluated."""


@hooks(name="astraios", description="Scores into a run of astraios")
class AstraiosHooks(Hooks):  # type: ignore[misc]
    """Keeps the metrics of every scorer of a task that has ended well."""

    async def on_task_end(self, data: TaskEnd) -> None:
        """The task is over: its results join the run, where there is one."""
        log = data.log
        found = scored_run(log.eval.model_args or {})
        if found is None or log.status != "success" or log.results is None:
            return
        run, step, is_ours = found
        try:
            for metrics, n in scores(log):
                told = {name: value for name, (value, _) in metrics.items()}
                for name, (value, stderr) in metrics.items():
                    run.score(
                        log.eval.task, {name: value}, n=n, stderr=stderr, step=step, settings={"inspect_ai": told}
                    )
        finally:
            if is_ours:
                run.finish()


def scores(log: Any) -> list[tuple[dict[str, tuple[float, float | None]], int | None]]:
    """Value and standard error by metric, and samples, of each scorer; the first one's metrics go without its name."""
    found = []
    for number_of, scorer in enumerate(log.results.scores):
        told = {name: number(metric.value) for name, metric in scorer.metrics.items()}
        stderr = told.pop("stderr", None)
        mark = "" if number_of == 0 else f"{scorer.name}."
        metrics = {
            f"{mark}{name}": (value, stderr if name in ("accuracy", "mean") else None)
            for name, value in told.items()
            if value is not None
        }
        found.append((metrics, log.results.completed_samples))
    return found


def scored_run(model_args: dict[str, Any]) -> tuple[Run, int | None, bool] | None:
    """The run that is evaluated, the step of a checkpoint, whether it was opened for this; None where none is known."""
    if (run := active()) is not None:
        return run, None, False
    if run_id := os.environ.get(RUN):
        return reopen(run_id), None, True
    if not model_args.get("model_path"):
        return None
    folder = Path(str(model_args["model_path"]))
    step = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    for place, at in ((folder, None), (folder.parent, int(step[1]) if step else None)):
        if told := note.find(place):
            return reopen(told.run_id, told.out), at, True
    return None
