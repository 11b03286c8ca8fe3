"""What is asked of a plan, and its answers: a budget's best use, or the least budget for a loss or a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import UsageError
from astraios.fit.decide.budget import SIX_N_D, Cost, Sharing
from astraios.fit.decide.planning import Allocation, Planner, planner
from astraios.fit.ensemble import Ensemble
from astraios.fit.sizes import parse_size
from astraios.fit.targets import FAR, Tokens

if TYPE_CHECKING:
    from astraios.fit.scores.from_loss import ScoreModel


@dataclass(frozen=True)
class PlanRequest:
    """One question: a budget in one of three units, a loss, or a score."""

    flops: float | None = None
    device_hours: float | None = None
    money: float | None = None
    loss: float | None = None
    score: tuple[str, float] | None = None
    """Task and fraction."""
    price: float | None = None
    """Of a device-hour."""
    series: str | None = None
    sharing: Sharing = field(default_factory=Sharing)

    @classmethod
    def of_options(
        cls, *, flops: str | None = None, score: str | None = None, target: str | None = None,
        target_tokens: str | None = None, tokens_per_param: float | None = None, **options: Any,
    ) -> PlanRequest:  # fmt: skip
        """A question from options as people write them: 1e23, TASK=0.6, 7B, 140B.

        Raises:
            UsageError: an option that makes no sense.
        """
        sharing = Sharing(
            None if target is None else parse_size(target),
            None if target_tokens is None else parse_size(target_tokens),
            tokens_per_param,
        )
        pair = None
        if score is not None:
            task, found, value = score.partition("=")
            try:
                pair = (task.strip(), float(value))
            except ValueError:
                found = ""
            if not found or not task or pair is None or not 0 < pair[1] < 1:
                raise UsageError(f"--score {score!r}: write TASK=FRACTION, for instance --score mutant=0.7")
        return cls(flops=None if flops is None else parse_size(flops), score=pair, sharing=sharing, **options)

    def check(self) -> None:
        """Raises a UsageError unless one thing is asked, in numbers that make sense."""
        asked = {
            "--flops": self.flops, "--device-hours": self.device_hours, "--money": self.money, "--loss": self.loss,
            "--score": self.score and self.score[1],
        }  # fmt: skip
        given = {name: value for name, value in asked.items() if value is not None}
        if len(given) != 1:
            what = f"{' and '.join(given)} were given" if given else "nothing was asked"
            raise UsageError(f"{what}: give one of {', '.join(asked)}")
        if self.money is not None and self.price is None:
            raise UsageError("--money needs --price, what one device-hour costs")
        held = self.sharing
        kept = {
            "--target": held.n_params, "--target-tokens": held.n_tokens, "--tokens-per-param": held.tokens_per_param,
        }  # fmt: skip
        for name, value in {**given, **kept, "--price": self.price}.items():
            if value is not None and not (np.isfinite(value) and value > 0):
                raise UsageError(f"{name} {value}: must be a positive number")
        several = [name for name, value in kept.items() if value is not None]
        if len(several) > 1:
            raise UsageError(f"{' and '.join(several)}: hold one of them, the budget says the other")

    @property
    def text(self) -> str:
        """The question in one word, as the database keeps it: flops=1e+23."""
        for name in ("flops", "device_hours", "money", "loss"):
            value = getattr(self, name)
            if value is not None:
                return f"{name}={value:.6g}"
        assert self.score is not None
        return f"score {self.score[0]}={self.score[1]:.6g}"

    @property
    def unit(self) -> str:
        """The unit of the budget: flops, device_hours or money."""
        return "device_hours" if self.device_hours is not None else "money" if self.money is not None else "flops"

    @property
    def budget(self) -> float | None:
        """The budget in its unit."""
        given = (self.flops, self.device_hours, self.money)
        return next((value for value in given if value is not None), None)


@dataclass(frozen=True)
class Costs:
    """What a token costs a series, in each unit that is known."""

    flops: Cost = SIX_N_D
    device_hours: Cost | None = None

    def of(self, unit: str, price: float | None) -> Cost:
        """The cost in a unit.

        Raises:
            UsageError: no throughput is known.
        """
        if unit == "flops":
            return self.flops
        if self.device_hours is None:
            raise UsageError("no throughput is known, so device-hours and money can't be planned with: use --flops")
        if unit == "device_hours":
            return self.device_hours
        assert price is not None
        return self.device_hours.times(price, "money", f"{self.device_hours.source}, at {price:g} a device-hour")


@dataclass(frozen=True)
class Answer:
    """One series' answer."""

    series: str
    sharing: str
    assumed: tuple[str, ...]
    """What was assumed, in words."""
    allocation: Allocation | None
    """None where a target is not reached."""
    flops: float | None = None
    flops_low: float | None = None
    flops_high: float | None = None
    device_hours: float | None = None
    price: float | None = None
    p_unreachable: float | None = None
    floor: float | None = None
    task_id: str | None = None
    score: float | None = None
    optimum: tuple[Mapping[str, Any], ...] = ()
    """Best values of tuned facts (learning rate, batch size) at this size and data."""
    place: Mapping[str, float | None] = field(default_factory=dict)
    """Size and data with the ends of their intervals, where no loss is projected and so nothing is allocated."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON prints it."""
        names = [name for name in Allocation.__dataclass_fields__ if name not in ("flops", "flat_low", "flat_high")]
        found = asdict(self.allocation) if self.allocation else dict(self.place)
        return {
            "series": self.series, "flops": self.flops, "flops_low": self.flops_low, "flops_high": self.flops_high,
            "device_hours": self.device_hours, "price": self.price,
            **{name: found.get(name) for name in names},
            "flat": [found["flat_low"], found["flat_high"]] if self.allocation else None,
            "p_unreachable": self.p_unreachable, "floor": self.floor, "task": self.task_id, "score": self.score,
            "sharing": self.sharing, "assumed": list(self.assumed), "optimum": [dict(one) for one in self.optimum],
        }  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """A fit with all that plans need to know beside it."""

    ensemble: Ensemble
    tokens: Tokens | None
    views: tuple[Ensemble, ...] = ()
    costs: Mapping[str, Costs] = field(default_factory=dict)
    """By series; 6 N D where there is none."""
    scores: Mapping[str, ScoreModel] = field(default_factory=dict)
    """Links from loss to score by task."""
    optima: Sequence[Any] = ()
    assumed: tuple[str, ...] = ()
    """What was assumed in choosing the points, in words."""
    level: float = 0.9
    seed: int = 0

    def planner(self, series: str, sharing: Sharing | None = None, cost: Cost | None = None) -> Planner:
        """What plans one series; in FLOPs unless a cost is given."""
        costs = self.costs.get(series, Costs())
        return planner(
            self.ensemble, series, cost=cost or costs.flops, sharing=sharing, tokens=self.tokens, level=self.level,
            views=self.views,
        )  # fmt: skip

    def answers(self, request: PlanRequest) -> list[Answer]:
        """A row a series.

        Raises:
            UsageError: the question makes no sense, or there is no such series or task.
            FitError: the fit can't tell.
        """
        request.check()
        names = self.ensemble.ladder.names
        if request.series is not None and request.series not in names:
            raise UsageError(f"--series {request.series!r}: this fit has {', '.join(names)}")
        return [self._answer(name, request) for name in names if request.series in (None, name)]

    def _answer(self, name: str, request: PlanRequest) -> Answer:
        costs = self.costs.get(name, Costs())
        cost = costs.of(request.unit, request.price)
        plan = self.planner(name, request.sharing, cost)
        assumed = (f"cost of a token: {cost.source}", plan.sharing.text, *self.assumed)
        if request.budget is not None:
            answer = Answer(name, plan.sharing.text, assumed, plan.at(request.budget))
            return self._priced(answer, plan, costs, request)
        task = None
        if request.score is not None:
            task, goal = request.score
            least = plan.least_score(goal, self._link(task), self.seed)
        else:
            assert request.loss is not None
            least = plan.least(request.loss)
        answer = Answer(
            name, plan.sharing.text, assumed, None if least.budget is None else plan.at(least.budget),
            p_unreachable=least.p_unreachable, floor=least.floor, task_id=task,
            score=None if request.score is None else request.score[1],
        )  # fmt: skip
        return replace(self._priced(answer, plan, costs, request), flops_low=least.low, flops_high=least.high)

    def _link(self, task: str) -> ScoreModel:
        if task not in self.scores:
            known = ", ".join(self.scores) or "none"
            raise UsageError(f"--score {task}: no score of that task goes with these losses (there are: {known})")
        return self.scores[task]

    def _priced(self, answer: Answer, plan: Planner, costs: Costs, request: PlanRequest) -> Answer:
        """The answer with what it costs in each unit that is known, and what was best to tune there."""
        found = answer.allocation
        if found is None:
            return answer
        at = (np.log(found.n_params), np.log(found.n_tokens))
        hours = None if costs.device_hours is None else float(np.exp(costs.device_hours.log_budget(*at)))
        point = {"n_params": found.n_params, "n_tokens": found.n_tokens}
        assumed = [*answer.assumed, *_far(found.flops, *plan.measured_budgets())]
        if costs.device_hours is not None and request.unit == "flops":
            assumed.append(f"device-hours: {costs.device_hours.source}")
        return replace(
            answer, assumed=tuple(assumed), flops=float(np.exp(costs.flops.log_budget(*at))), device_hours=hours,
            price=None if hours is None or request.price is None else hours * request.price,
            optimum=tuple(one.at(point, self.level) for one in self.optima if one.series == answer.series),
        )  # fmt: skip


def _far(budget: float, smallest: float, largest: float) -> list[str]:
    """What to know of a budget that nothing near was measured of."""
    if budget > FAR * largest:
        return [f"the laws hold at over {_power_of_ten(budget / largest):.0e} times the largest measured budget"]
    if budget < smallest / FAR:
        return [f"the laws hold at under 1/{_power_of_ten(smallest / budget):.0e} of the smallest measured budget"]
    return []


def _power_of_ten(ratio: float) -> float:
    return float(10.0 ** np.floor(np.log10(ratio)))
