"""Where unfinished runs will end: `astraios status --forecast`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import FitError

if TYPE_CHECKING:
    import polars as pl

SPLITS = ("test", "train", "batch")
"""Which losses of a run are followed: the first split that it has three of."""


def forecast(out: str | Path, level: float = 0.9) -> list[dict[str, Any]]:
    """Ends of the runs of a folder that have begun and not finished; finished ones teach how a schedule ends.

    Args:
        out: folder or URL of the run directories.
        level: of the intervals.

    Returns:
        Per run: run_id, model_id, method_id, step, steps, loss (so far), mean, low, high (loss at the planned end,
        nats), law, and why where there is none.
    """
    from astraios.runs.place import Place
    from astraios.runs.status import standings

    place = Place(out)
    place.fetch()
    told, open_runs, reached, short = [], {}, {}, []
    begun = [one for one in standings(place.path) if one.state in ("running", "interrupted", "done")]
    if all(one.state == "done" for one in begun):
        return []
    for one in begun:
        part = _of_run(place.path / one.run_id, one)
        if part is None:
            if one.state != "done":
                short.append(one)
            continue
        told.append(part)
        if one.state != "done":
            open_runs[one.run_id] = one
            reached[one.run_id] = part.drop_nulls("loss")["loss"][-1]
    ends = _ends(told, open_runs, level) if open_runs else {}
    found = [
        _row(one, end.steps_seen, end.steps, reached[name], end)
        for name, one in open_runs.items()
        if (end := ends.get(name)) is not None
    ]
    short += [one for name, one in open_runs.items() if name not in ends]
    return [*found, *(_row(one, one.step, one.steps, reached.get(one.run_id)) for one in short)]


def _row(one: Any, step: int | None, steps: int | None, loss: float | None, end: Any | None = None) -> dict[str, Any]:
    """A run with its forecast, or with the reason why it has none."""
    said = {name: getattr(end, name, None) for name in ("mean", "low", "high", "law")}
    return {
        "run_id": one.run_id, "model_id": one.model_id, "method_id": one.method_id, "step": step, "steps": steps,
        "loss": loss, **said, "why": None if end else "too few losses",
    }  # fmt: skip


def _ends(told: list[pl.DataFrame], open_runs: Mapping[str, Any], level: float) -> dict[str, Any]:
    """Forecasts by run: all at once where schedules are known, else with the runs of as many steps."""
    import polars as pl

    from astraios.fit.decide.finish import finish

    known = [part for part in told if part["learning_rate"].null_count() < part.height]
    others = [part for part in told if part["learning_rate"].null_count() == part.height]
    groups: dict[int | None, list[pl.DataFrame]] = {None: known} if known else {}
    for part in others:
        groups.setdefault(int(part["planned"][0]), []).append(part)
    found: dict[str, Any] = {}
    for steps, parts in groups.items():
        if not any(part["run_id"][0] in open_runs for part in parts):
            continue
        try:
            found |= {end.run_id: end for end in finish(pl.concat(parts), steps, level=level)}
        except FitError:
            continue
    return found


def _of_run(folder: Path, standing: Any) -> pl.DataFrame | None:
    """A run's losses, with its learning rate to the planned end where its recipe says it; None with too few."""
    from astraios.runs.directory import RunDirectory

    points = RunDirectory(folder).losses()
    split = next((name for name in SPLITS if sum(p.split == name and p.step > 0 for p in points) > 2), None)
    if split is None or not standing.steps:
        return None
    losses = {p.step: p.loss_nats for p in points if p.split == split and p.step > 0}
    rates = _recipe(folder, standing.steps)
    kind = f"{standing.model_id} {standing.method_id} {split}"
    return planned(standing.run_id, kind, losses, standing.steps, rates)


def planned(run_id: str, kind: str, losses: Mapping[int, float], steps: int, spec: Any | None) -> pl.DataFrame:
    """A run as `finish` takes it: its losses, and its learning rate to the planned end.

    Args:
        run_id: the run.
        kind: runs of one kind share their parameters.
        losses: nats by step, from 1 on.
        steps: the planned end.
        spec: the recipe (`astraios.train.loop.TrainSpec`), or None where it is not known.
    """
    import polars as pl

    from astraios.collect.plan.rates import rates

    known = rates(spec, losses) if spec else {}
    rows = [(run_id, kind, step, losses.get(step), known.get(step), steps) for step in sorted({*losses, *known})]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


COLUMNS: Mapping[str, Any] = {
    "run_id": str, "kind": str, "step": int, "loss": float, "learning_rate": float, "planned": int,
}  # fmt: skip


def _recipe(folder: Path, steps: int) -> Any | None:
    """The recipe that a sweep wrote down for a run, if it says the learning rate to the planned end."""
    from astraios.collect.plan.rates import recipe

    try:
        spec = recipe(json.loads((folder / "cell.json").read_bytes())["train"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return spec if spec and spec.steps == steps else None
