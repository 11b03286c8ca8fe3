"""Planning: the best use of a budget, the least budget for a target, and speed-ups, from a database or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios import store
from astraios.errors import FitError, StoreError, UsageError, did_you_mean
from astraios.fit.decide.budget import SIX_N_D, Cost, Sharing, measured
from astraios.fit.decide.compare import Crossing, crossing
from astraios.fit.decide.least_size import LeastSize, least_sizes
from astraios.fit.decide.plan import Answer, Costs, Planned, PlanRequest
from astraios.fit.decide.planning import runs_own
from astraios.fit.decide.speedup import SpeedUp, speedup
from astraios.fit.request import FitRequest
from astraios.fit.scores.data import ScoreData, read_scores
from astraios.fit.scores.routes import beside
from astraios.fit.scores.sized import check_link
from astraios.fit.selection import Selection
from astraios.fit.targets import FLOPS_PER_TOKEN, Target, Tokens
from astraios.records import AllocationRow, IsoflopRow, NextRunRow, NotPlannedRow, SpeedUpRow, from_values
from astraios.records.plans import BUDGETS, PlanRow
from astraios.workflow.selecting import FileColumns, select, select_file

if TYPE_CHECKING:
    import polars as pl

    from astraios.fit.analysis import Analysis
    from astraios.fit.axes import Points
    from astraios.fit.losses import LossPart

OWN = 0.02
"""Share by which the FLOPs that runs report may differ from 6 N D and still be called that."""
NEXT = 6
"""Next runs that are stored."""
REFERENCE = "fft"
"""The series that others are compared with, where it is there."""
LINE, REACH = 13, 100.0
"""Budgets that `fit-scaling` plans for, and how far beyond the largest measured one."""
LINES = (1.0, 10.0, 100.0)
"""IsoFLOP lines, as multiples of the largest measured budget, beside three within what was measured."""


def plan_budget(db: Path, request: FitRequest, asked: PlanRequest) -> list[Answer]:
    """The best size and data for a budget, or the least budget for a target, a row a series; stored.

    Raises:
        StoreError: no database, or it holds no finished runs with losses.
        UsageError: the question makes no sense; a study, series or task that isn't there.
        FitError: the runs can't tell.
    """
    asked.check()
    chosen = select(db, request) if asked.score is not None else _with_losses(db, request)
    if chosen.losses is None:
        answers = _without_losses(chosen, request, asked)
    else:
        answers = planned(chosen, request, scores=asked.score is not None).answers(asked)
    key = str(chosen.study.get("study_key"))
    store.write_plans(db, [_row(key, asked.text, answer, request.level) for answer in answers])
    return answers


def _without_losses(chosen: Selection, request: FitRequest, asked: PlanRequest) -> list[Answer]:
    """The least size for a score, from scores alone; what it costs where the runs say how much data a size sees."""
    import polars as pl

    assert chosen.scores is not None
    assert asked.score is not None
    (task, goal), scores = asked.score, chosen.scores
    mine = read_scores(scores.filter(pl.col("task_id") == task), by_size=True)
    main = scores.filter((pl.col("task_id") == task) & pl.col("is_main_metric"))["metric"].to_list()
    data = next((one for one in mine if one.metric in main), None)
    if data is None:
        tasks = scores.filter("is_main_metric")["task_id"].unique(maintain_order=True).to_list()
        raise UsageError(f"--score {task}: no score of that task is here: {did_you_mean(task, tasks)}")
    check_link(request.law)
    sharing = _sharing(data, asked.sharing)
    found = least_sizes(data, beside(mine, data, request.through), goal, request)
    if asked.series is not None and asked.series not in [one.series for one in found]:
        raise UsageError(f"--series {asked.series!r}: there are {', '.join(one.series for one in found)}")
    return [_sized(one, data.task_id, goal, sharing) for one in found if asked.series in (None, one.series)]


def _sharing(data: ScoreData, asked: Sharing) -> Sharing | None:
    """How much data a size sees: as the runs say; None where they say nothing of use.

    Raises:
        FitError: another amount was asked for, or the size was held.
    """
    known = data.log_tokens is not None and bool(np.isfinite(data.log_tokens).all())
    tokens = Tokens.of_columns(data.log_size, data.log_tokens if known else None, free=False)
    if not asked.free:
        return runs_own(tokens, asked)
    return runs_own(tokens, asked) if tokens.kind in ("constant", "proportional") else None


def _sized(one: LeastSize, task: str, goal: float, sharing: Sharing | None) -> Answer:
    """The answer of one series, with data and FLOPs of each size where the runs say how much data a size sees."""
    place: dict[str, float | None] = {}
    flops: list[float | None] = []
    for end, size in (("", one.n_params), ("_low", one.low), ("_high", one.high)):
        data = None
        if sharing is not None and size is not None:
            data = sharing.n_tokens or (sharing.tokens_per_param or 0.0) * size
        place |= {f"n_params{end}": size, f"n_tokens{end}": data}
        flops.append(None if size is None or data is None else FLOPS_PER_TOKEN * size * data)
    text = sharing.text if sharing else "size alone: the runs do not say how much data a size sees"
    costs = (f"cost of a token: {SIX_N_D.source}",) if sharing else ()
    return Answer(
        one.series, text, ("no losses: the score is projected from size", text, *costs), None, flops[0], flops[1],
        flops[2], p_unreachable=one.p_unreachable, floor=one.limit, task_id=task, score=goal, place=place,
    )  # fmt: skip


def plan_file(path: Path, request: FitRequest, columns: FileColumns, asked: PlanRequest) -> list[Answer]:
    """The same from a CSV or Parquet file; nothing is written.

    Raises:
        DataError: no such file or column.
    """
    asked.check()
    return planned(select_file(path, columns, request), request).answers(asked)


@dataclass(frozen=True)
class Compared:
    """Two series: how much faster one is, and where the better one changes."""

    speedup: SpeedUp
    crossing: Crossing
    assumed: tuple[str, ...] = ()
    """What was assumed in choosing the points, in words."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON prints it."""
        return {**self.speedup.to_dict(), "crossing": asdict(self.crossing), "assumed": list(self.assumed)}


def compare_series(db: Path, request: FitRequest, pair: tuple[str, str], unit: str) -> Compared:
    """What the first series needs to reach the second's loss at the first target, and where they cross; stored.

    Raises:
        StoreError: no database, or it holds no finished runs with losses.
        UsageError: a study, series or unit that isn't there.
        FitError: the runs can't tell.
    """
    chosen = _with_losses(db, request)
    found = _compared(chosen, request, pair, unit)
    key = str(chosen.study.get("study_key"))
    store.write_plans(db, [from_values(SpeedUpRow, {**found.speedup.to_dict(), "study_key": key})])
    return found


def compare_file(path: Path, request: FitRequest, columns: FileColumns, pair: tuple[str, str], unit: str) -> Compared:
    """The same from a CSV or Parquet file; nothing is written."""
    return _compared(select_file(path, columns, request), request, pair, unit)


def _compared(chosen: Selection, request: FitRequest, pair: tuple[str, str], unit: str) -> Compared:
    made = planned(chosen, request)
    where = target_of(made, chosen, request)
    found = speedup(made, *pair, where, unit)
    largest = max(where.n_params, 100 * max(chosen.n_params))
    return Compared(found, crossing(made.ensemble, *pair, largest, request.level, where.n_tokens), made.assumed)


def target_of(made: Planned, chosen: Selection, request: FitRequest) -> Target:
    """The first target of a request, as a size and an amount of data."""
    from astraios.fit.losses import best_size
    from astraios.fit.targets import targets

    flops = request.data_rule.flops
    best = [best_size(made.ensemble, flops)] if flops is not None and not request.targets else []
    sizes = best or chosen.targets(request)
    assert made.tokens is not None
    return targets(sizes[:1], request.data_rule, made.tokens)[0][0]


def speed_ups(made: Planned, study_key: str, target: Target) -> list[SpeedUpRow | NotPlannedRow]:
    """What the reference (full tuning, else the best series) needs to reach each other series' loss at a target."""
    names = made.ensemble.ladder.names
    rows: list[SpeedUpRow | NotPlannedRow] = []
    one_amount = made.tokens is not None and made.tokens.kind == "constant"
    for unit in ("flops",) if one_amount else ("flops", "tokens"):
        reference = REFERENCE if REFERENCE in names else _best_at(made, target)
        for name in names:
            if name == reference:
                continue
            try:
                found = speedup(made, reference, name, target, unit)
            except FitError as error:
                why = f"{reference} against it in {unit}: {error}"
                rows.append(NotPlannedRow(study_key=study_key, what="speed_up", series=name, why=why))
                continue
            rows.append(from_values(SpeedUpRow, {**found.to_dict(), "study_key": study_key}))
    return rows


def _best_at(made: Planned, target: Target) -> str:
    names = made.ensemble.ladder.names
    size, data = np.log([target.n_params]), np.log([target.n_tokens or 1.0])
    losses = [made.planner(name).project(size, data).mean[0] for name in names]
    return names[int(np.argmin(losses))]


def _with_losses(db: Path, request: FitRequest) -> Selection:
    request.check()
    chosen = select(db, request)
    if chosen.losses is None:
        raise StoreError(
            f"{db} holds no finished run with a loss: a plan needs losses, but for --score TASK=V, which goes by size "
            "there; run `astraios collect` first"
        )
    return chosen


def planned(chosen: Selection, request: FitRequest, *, scores: bool = False) -> Planned:
    """A fit of a selection's losses, ready to plan with.

    Args:
        chosen: rows of one study.
        request: how they are fitted.
        scores: whether scores are fitted too.
    """
    from astraios.fit.analysis import scores_of
    from astraios.fit.losses import fit_part, read_losses
    from astraios.fit.observations import require_sizes

    arranged = read_losses(chosen, request.roles, request.loss_quantity, request.inputs)
    require_sizes(arranged.ladder, pooled=len(arranged.ladder) > 1)
    data = scores_of(chosen, arranged.points) if scores else ()
    part = fit_part("target", arranged.ladder, data, request, run_noise=arranged.points.run_noise)
    return of_part(part, arranged.tokens, chosen, arranged.points, request)


def of_part(part: LossPart, tokens: Any, chosen: Selection, points: Points | None, request: FitRequest) -> Planned:
    """The same from losses that were fitted already."""
    from astraios.fit.decide.planning import even

    links = {model.data.task_id: model for one in part.scores if (model := one.model) is not None}
    return Planned(
        part.ensemble, tokens, even(part.ensemble, request.estimator, request.seed),
        costs(chosen.costs, points.series_of if points else {}), links, points.optima if points else (),
        tuple(note.message for note in chosen.notes), request.level, request.seed,
    )  # fmt: skip


def costs(runs: pl.DataFrame | None, series_of: Mapping[str, str]) -> dict[str, Costs]:
    """What a token costs each series: as its runs report, else by the FLOPs model and an assumed device."""
    import polars as pl

    assumed = _assumed(SIX_N_D)
    found = dict.fromkeys(series_of.values(), Costs(SIX_N_D, assumed))
    if runs is None or runs.is_empty():
        return found
    series = runs["run_id"].replace_strict(dict(series_of), default=None, return_dtype=pl.String)
    known = runs.with_columns(series=series).filter(pl.col("series").is_not_null() & (pl.col("n_tokens") > 0))
    for (name,), part in known.group_by(["series"]):
        flops = _of_runs(part, "flops", "flops")
        flops = SIX_N_D if flops is None or _six_n_d(part) else flops
        hours = _of_runs(part, "hours", "device_hours")
        found[str(name)] = Costs(flops, hours or _assumed(flops))
    return found


def _assumed(flops: Cost) -> Cost:
    from astraios.collect.plan.cost import ASSUMED

    rate = ASSUMED["none"]
    words = f"{flops.source} at {rate:.2g} operations a second, assumed for one H100: nothing was measured"
    return flops.times(1 / (3600 * rate), "device_hours", words)


def _of_runs(part: pl.DataFrame, column: str, unit: str) -> Cost | None:
    import polars as pl

    some = part.filter(pl.col(column) > 0)
    if some.height < part.height:
        return None
    per_token = np.log((some[column] / some["n_tokens"]).to_numpy())
    return measured(unit, np.log(some["n_params"].cast(pl.Float64).to_numpy()), per_token, _words(unit, some.height))


def _words(unit: str, n_runs: int) -> str:
    what = "FLOPs that runs report" if unit == "flops" else "measured device-hours"
    return f"{what} ({n_runs} run{'' if n_runs == 1 else 's'}), a power of the size"


def _six_n_d(part: pl.DataFrame) -> bool:
    """Whether what runs report is 6 N D."""
    ratio = (part["flops"] / (6.0 * part["n_params"] * part["n_tokens"])).to_numpy()
    return bool((np.abs(np.log(ratio)) < OWN).all())


def _row(study_key: str, asked: str, answer: Answer, level: float, fit_id: str | None = None) -> AllocationRow:
    content = answer.to_dict()
    flat = content["flat"] or (None, None)
    return from_values(
        AllocationRow,
        {
            **content, "study_key": study_key, "asked": asked, "fit_id": fit_id, "level": level, "flat_low": flat[0],
            "flat_high": flat[1], "task_id": answer.task_id,
        },
    )  # fmt: skip


def budget_lines(analysis: Analysis, chosen: Selection) -> list[PlanRow]:
    """What the report's planning section is made of: a row of budgets of each series, isoFLOP lines, speed-ups.

    What can't be planned (studies whose runs do not say how much data they saw, say) is a row that says why. Studies
    of scores alone have none.
    """
    from astraios.fit.losses import LossPart

    part = next((p for p in analysis.parts if isinstance(p, LossPart) and p.role == "target"), None)
    if part is None or analysis.tokens is None:
        return []
    made = of_part(part, analysis.tokens, replace(chosen, scores=None), analysis.points, analysis.request)
    key = str(analysis.study.get("study_key"))
    rows: list[PlanRow] = []
    for name in part.ensemble.ladder.names:
        try:
            rows += _of_series(made, name, key, part.ids[name])
        except FitError as error:
            rows.append(NotPlannedRow(study_key=key, what="budgets", series=name, why=str(error)))
    planned_some = any(isinstance(row, AllocationRow) for row in rows)
    projected = analysis.of("target", "loss")
    if planned_some and len(part.ensemble.ladder) > 1 and projected:
        rows += speed_ups(made, key, Target(projected[0].n_params, projected[0].n_tokens))
    return [*rows, *next_runs(analysis, chosen)]


def _of_series(made: Planned, name: str, key: str, fit_id: str) -> list[PlanRow]:
    """The row of budgets of one series, and its isoFLOP lines where size and data are both free.

    Raises:
        FitError: the fit can't tell; then there are none at all.
    """
    plan = made.planner(name)
    low, high = plan.measured_budgets()
    rows: list[PlanRow] = []
    for budget in np.geomspace(low, high * REACH, LINE):
        [answer] = made.answers(PlanRequest(flops=float(budget), series=name))
        rows.append(_row(key, BUDGETS, answer, made.level, fit_id))
    if plan.sharing.free:
        rows += _lines(key, fit_id, plan, [*np.geomspace(low, high, 4)[:3], *(high * np.array(LINES))])
    return rows


def not_planned(rows: Sequence[PlanRow]) -> list[dict[str, Any]]:
    """What could not be planned, as JSON prints it: what, series, why."""
    return [{"what": row.what, "series": row.series, "why": row.why} for row in rows if isinstance(row, NotPlannedRow)]


def hours_source(chosen: Selection) -> str:
    """Where device-hours of runs come from.

    Raises:
        FitError: nowhere.
    """
    import polars as pl

    runs, losses = chosen.costs, chosen.losses
    assert losses is not None
    if runs is not None and runs.filter(pl.col("hours") > 0).height:
        return "device-hours as measured, a power of the size for each series"
    if "n_tokens" not in losses.columns or losses["n_tokens"].null_count():
        raise FitError(
            "no run has a measured cost (device_seconds), and the runs do not say how many tokens they saw: add "
            "either, so that a run can be priced"
        )
    return _assumed(SIX_N_D).source


def data_of_runs(analysis: Analysis) -> float | None:
    """How much data the first target has, which every run to buy is given too, where the laws take it."""
    if "n_tokens" not in analysis.ensemble.best.law.inputs:
        return None
    return next((p.n_tokens for p in analysis.of("target", "loss")), None)


def run_hours(chosen: Selection, analysis: Analysis, n_tokens: float | None) -> Callable[[str, float], float]:
    """Device-hours of a run by series and size: as measured, else by the FLOPs model at the runs' own data."""
    import polars as pl

    from astraios.fit.decide.cost import cost_model

    named = analysis.points.series_of if analysis.points else {}
    runs = chosen.costs
    if n_tokens is None and runs is not None and runs.filter(pl.col("hours") > 0).height:
        series = runs["run_id"].replace_strict(named, default=None, return_dtype=pl.String)
        found = runs.with_columns(method_id=series).drop_nulls("method_id")
        return cost_model(
            found.group_by("method_id", "n_params").agg(pl.col("hours").mean()).sort("method_id", "n_params")
        )
    known, tokens = costs(runs, named), analysis.tokens
    assert tokens is not None

    def hours(series: str, n_params: float) -> float:
        cost = known.get(series, Costs(SIX_N_D, _assumed(SIX_N_D))).device_hours
        assert cost is not None
        data = n_tokens or tokens.at(n_params) or 1.0
        return float(np.exp(cost.log_budget(np.log(n_params), np.log(data))))

    return hours


def next_runs(analysis: Analysis, chosen: Selection) -> list[NextRunRow | NotPlannedRow]:
    """The first runs that `design` would buy for the first target, whatever they cost."""
    from astraios.fit.decide.design import design
    from astraios.workflow.sizes import runnable_sizes

    projected, key = analysis.of("target", "loss"), str(analysis.study.get("study_key"))
    if not projected:
        return []
    inputs = set(analysis.ensemble.best.law.inputs)
    if not {"n_params"} <= inputs <= {"n_params", "n_tokens"}:
        why = f"runs are chosen by size and data, and the law takes {', '.join(sorted(inputs))}"
        return [NotPlannedRow(study_key=key, what="next_run", why=why)]
    target = projected[0].n_params
    try:
        tokens = data_of_runs(analysis)
        source, hours = hours_source(chosen), run_hours(chosen, analysis, tokens)
        sizes = runnable_sizes(chosen.n_params, chosen.ladder, target)
        found = design(analysis.ensemble, target, float("inf"), hours, sizes, NEXT, tokens)
    except FitError as error:
        return [NotPlannedRow(study_key=key, what="next_run", why=str(error))]
    return [
        NextRunRow(
            study_key=key, place=place, series=run.method_id, n_params=run.n_params, target=target,
            device_hours=run.cost, cost_source=source, gain=run.gain, width_after=run.width_after,
        )
        for place, run in enumerate(found.runs, start=1)
    ]  # fmt: skip


def _lines(key: str, fit_id: str, plan: Any, budgets: Sequence[float]) -> list[IsoflopRow]:
    """Loss against size at equal budgets, a decade and a half to each side of the best size."""
    rows = []
    for budget in budgets:
        log_budget = np.log(budget)
        best = plan.path(np.array([log_budget]))[0][0]
        grid = np.sort(np.append(best, best + np.linspace(-3.4, 3.4, 40)))
        size, data = plan.line(log_budget, grid)
        loss = np.exp(plan.project(size, data).mean)
        rows += [
            IsoflopRow(
                study_key=key, series=plan.name, fit_id=fit_id, flops=float(budget), n_params=float(np.exp(n)),
                n_tokens=float(np.exp(d)), loss=float(v), is_best=bool(n == best),
            )
            for n, d, v in zip(size, data, loss, strict=True)
        ]  # fmt: skip
    return rows
