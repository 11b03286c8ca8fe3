"""Run directories and databases that are made up, for the tests of the store."""

from __future__ import annotations

import json
from pathlib import Path

from astraios.records import (
    BaseModelRow,
    LossPoint,
    RunRow,
    SampleScore,
    Score,
    TaskResult,
    TaskRow,
    TuningMethodRow,
)
from astraios.runs.directory import RunDirectory
from astraios.runs.rows import Ending, RunRows

SWEEP = json.dumps({"name": "made-up", "compute": {}})


def rows_of(run_id: str, seed: int = 0, method_id: str = "lora", n_params: int = 1000) -> RunRows:
    """What a manifest says of a run, without its attempts."""
    return RunRows(
        sweep_json=SWEEP,
        run=RunRow(
            run_id=run_id,
            origin="measured",
            model_id=f"made/up-{n_params}",
            method_id=method_id,
            seed=seed,
            n_params=n_params,
            n_trainable=10,
            bytes_per_token=2.0,
            settings={"a": [1, "é"]},
        ),
        base_model=BaseModelRow(model_id=f"made/up-{n_params}", n_params=n_params, settings={}),
        tuning_method=TuningMethodRow(method_id=method_id, title=method_id, kind="low-rank"),
        tasks=[TaskRow(task_id="t", title="T", kind="likelihood", metric="accuracy", higher_is_better=True)],
    )


def make_run(
    out: Path,
    run_id: str,
    losses: int = 5,
    seed: int = 0,
    method_id: str = "lora",
    n_params: int = 1000,
    start: float = 4.0,
) -> RunDirectory:
    """A finished run directory, without a model; one that is there already is finished.

    The loss begins at `start` and falls by a tenth a step.
    """
    directory = RunDirectory(out / run_id)
    attempt, started = directory.start("{}")
    done = len(directory.losses())
    for step in range(done, losses):
        directory.append_loss(LossPoint("test", step, step * 100, start - 0.1 * step))
    result = TaskResult(
        scores=(Score("t", "accuracy", 0.5, 0.1, 0.3, 0.7, 20),),
        samples=(
            SampleScore("t", "0", 0, 1.0, "passed", n_choices=4, answers=[1], loglikelihood=-0.7, answer_bytes=9),
        ),
        n_items=20,
    )
    ending = Ending(attempt=attempt, state="done", started_at=started, finished_at=started, device_seconds=1.5)
    directory.finish(rows_of(run_id, seed, method_id, n_params), ending, {"t": (result, 0.1)})
    return directory


def make_ladder(out: Path) -> None:
    """Two methods at four sizes, the smallest with two seeds, whose losses follow laws and are noisy."""
    for i, n_params in enumerate((10**6, 4 * 10**6, 16 * 10**6, 64 * 10**6)):
        for method_id, e, a, alpha in (("lora", 1.4, 40.0, 0.25), ("ia3", 1.6, 30.0, 0.22)):
            for seed in (0, 1) if i == 0 else (0,):
                loss = (e + a * n_params**-alpha) * (1 + 0.002 * (-1) ** (i + seed))
                make_run(out, f"{method_id}-{i}-{seed}", 3, seed, method_id, n_params, start=loss + 0.2)
