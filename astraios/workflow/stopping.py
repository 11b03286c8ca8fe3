"""Which cells are hopeless: their curves extrapolated by the fit, compared with what was finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from astraios.errors import FitError

if TYPE_CHECKING:
    from astraios.collect.plan.cell_plan import Plan
    from astraios.runs.place import Place


def judge(place: Place, plans: Sequence[Plan], level: float) -> Callable[[Sequence[str]], Mapping[str, str]]:
    """A function that, given run_ids in training, says which of them can't reach the best final loss any more.

    Cells are compared with those of the same base, data and number of steps; runs that are finished teach the
    extrapolation how a schedule ends. Where nothing has been finished, nothing is hopeless.

    Args:
        place: where the run directories are.
        plans: the sweep.
        level: of the interval whose low end has to lie above the best loss.
    """
    specs = {plan.cell.run_id: (plan.cell.method_id, plan.cell.train) for plan in plans}
    groups: dict[tuple[Any, ...], list[str]] = {}
    group_of: dict[str, tuple[Any, ...]] = {}
    for plan in plans:
        cell = plan.cell
        data = (cell.data_identity, cell.data.n_train_tokens, cell.data.sequence_length)
        group = (cell.model_id, *data, cell.train.batch_size, cell.train.steps)
        groups.setdefault(group, []).append(cell.run_id)
        group_of[cell.run_id] = group

    def hopeless(training: Sequence[str]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        asked: dict[tuple[Any, ...], list[str]] = {}
        for run_id in training:
            asked.setdefault(group_of[run_id], []).append(run_id)
            place.fetch(run_id)
        for group, run_ids in asked.items():
            found |= _hopeless(place, groups[group], run_ids, group[-1], level, specs)
        return found

    return hopeless


def _hopeless(
    place: Place, everybody: Sequence[str], training: Sequence[str], steps: int, level: float,
    specs: Mapping[str, tuple[str, Any]],
) -> dict[str, str]:  # fmt: skip
    import polars as pl

    from astraios.fit.decide.finish import finish
    from astraios.runs.directory import RunDirectory
    from astraios.workflow.forecasting import planned

    curves: dict[str, list[tuple[int, float]]] = {}
    for run_id in everybody:
        points = [(p.step, p.loss_nats) for p in RunDirectory(place.path / run_id).losses() if p.split == "test"]
        if points and (run_id in training or points[-1][0] >= steps):
            curves[run_id] = points
    ended = {run_id: points[-1][1] for run_id, points in curves.items() if points[-1][0] >= steps}
    if not ended or all(run_id in ended or run_id not in curves for run_id in training):
        return {}
    best = min(ended.values())
    frame = pl.concat(
        [
            planned(run_id, specs[run_id][0], {step: loss for step, loss in points if step}, steps, specs[run_id][1])
            for run_id, points in curves.items()
        ]
    )
    try:
        ends = finish(frame, steps, to_beat=best, level=level)
    except FitError:
        return {}
    return {
        end.run_id: f"at step {end.steps_seen} of {steps} its final loss is put at {end.mean:.4g} "
        f"({end.low:.4g} to {end.high:.4g}), and {best:.4g} has been reached"
        for end in ends
        if end.hopeless and end.run_id in training and end.run_id not in ended
    }
