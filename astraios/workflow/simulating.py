"""What a sweep would tell before it is run: `astraios plan --simulate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from astraios.errors import FitError, UsageError
from astraios.fit.priors import NOISE
from astraios.fit.request import FitRequest
from astraios.fit.sizes import next_rung, parse_size

Cell = tuple[str, float]
"""Method and size."""
LADDERS, FEW = 12, 5
"""Ladders that are simulated of the sweep itself, and of each other one that is looked at."""
SEEDS = (1, 2, 3)
"""Runs a cell that other ladders are tried with."""


@dataclass(frozen=True)
class Option:
    """One ladder and what it would give."""

    sizes: tuple[float, ...]
    seeds: int
    width: float
    """Mean width of a new run's 90 % interval at the target, relative to the loss."""
    coverage: float
    power: float
    """Probability to separate two methods 1 % apart."""
    device_hours: float | None


@dataclass(frozen=True)
class Simulation:
    """A sweep simulated, and the cheapest ladder that is narrow enough."""

    sweep: str
    methods: tuple[str, ...]
    target: float
    truth: str
    costs: str
    planned: Option
    cheapest: Option | None
    """None where no wanted width was given, or nothing reaches it."""
    others: tuple[Option, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON prints it."""
        return asdict(self)


def simulate_sweep(
    sweep_name: str, db: Path, request: FitRequest, width: float | None, tell: Callable[[str], None]
) -> Simulation:
    """Truths are drawn, the planned ladder is run on each and fitted as usual, and its interval looked at.

    The truth is a study's fit where one is named, else what is typical: published exponents, a run's noise of 0.3 %.

    Args:
        sweep_name: a TOML file or a built-in sweep.
        db: the database, for measured throughput and the study.
        request: the first target counts; a study is the truth.
        width: wanted width relative to the loss; the cheapest ladder that reaches it is looked for.
        tell: told, before anything is computed, what costs rest on.

    Raises:
        UsageError: no such sweep, or a width that makes no sense.
        FitError: too few sizes.
    """
    from astraios.fit.decide.simulate import simulate, typical

    if width is not None and not 0 < width < 1:
        raise UsageError(f"--width {width}: a share of the loss between 0 and 1, for instance 0.05")
    cells, hours, source = _cells(sweep_name, db)
    tell(f"costs: {source}")
    methods = tuple(dict.fromkeys(method for method, _ in cells))
    sizes = sorted({size for _, size in cells})
    if len(sizes) < 2:
        raise FitError(f"sweep {sweep_name} has one size: nothing can be projected from it")
    seeds = int(np.median(list(cells.values())))
    target = parse_size(request.targets[0]) if request.targets else next_rung(sizes)
    if request.study is not None:
        truth, words, noise = _of_study(db, request), f"the fit of study {request.study}", None
    else:
        truth, words, noise = typical(methods, sizes, request.seed), "typical: nothing was measured", NOISE

    def option(chosen: Sequence[float], each: int, ladders: int) -> Option:
        found = simulate(truth, chosen, target, each, ladders, request.level, request.seed, noise)
        price = [hours.get((m, s)) for m in methods for s in chosen]
        cost = None if any(one is None for one in price) else each * sum(one for one in price if one is not None)
        return Option(tuple(chosen), each, found.width, found.coverage, found.power, cost)

    planned = option(sizes, seeds, LADDERS)
    others: list[Option] = []
    if width is not None:
        others = [option(part, each, FEW) for part in _parts(sizes) for each in SEEDS if (part, each) != (sizes, seeds)]
    enough = [one for one in (planned, *others) if width is not None and one.width <= width]
    cheapest = min(enough, key=lambda one: (one.device_hours or np.inf, one.width), default=None)
    return Simulation(sweep_name, methods, target, words, source, planned, cheapest, tuple(others))


def _parts(sizes: list[float]) -> list[list[float]]:
    """Ladders within a ladder: all of it, without its largest rungs, every second rung."""
    found = [sizes, sizes[:-1], sizes[:-2], sizes[::2]]
    return [part for i, part in enumerate(found) if len(part) > 2 and part not in found[:i]]


def _cells(
    sweep_name: str, db: Path
) -> tuple[dict[tuple[str, float], int], dict[tuple[str, float], float | None], str]:
    """Runs by method and size, device-hours of one, and where these come from."""
    from astraios.collect.plan.cost import estimate, totals
    from astraios.workflow.collecting import measured_rates, plan

    sweep, plans = plan(sweep_name, [])
    rates = {} if sweep.compute.flops_per_second else measured_rates(db, plans)
    estimates = [estimate(one, sweep.compute, rates) for one in plans]
    counts: dict[Cell, int] = {}
    hours: dict[Cell, float | None] = {}
    for one, cost in zip(plans, estimates, strict=True):
        key = (one.cell.method_id, float(one.count.n_params))
        counts[key] = counts.get(key, 0) + 1
        hours[key] = cost.device_hours
    return counts, hours, totals(plans, estimates, sweep.compute, rates).source


def _of_study(db: Path, request: FitRequest) -> Any:
    from astraios.workflow.planning import planned
    from astraios.workflow.selecting import select

    return planned(select(db, request), request).ensemble
