"""Plans of a fit in Python: what `FitResult.plan` and `FitResult.speedup` ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from astraios.fit.decide.budget import Sharing
from astraios.fit.decide.plan import Planned, PlanRequest
from astraios.fit.decide.planning import even
from astraios.fit.ensemble import Ensemble
from astraios.fit.targets import Tokens


class Result(Protocol):
    """What is planned with: a `FitResult`."""

    @property
    def ensemble(self) -> Ensemble: ...

    @property
    def level(self) -> float: ...

    @property
    def seed(self) -> int: ...

    @property
    def estimator(self) -> str: ...

    @property
    def optima(self) -> Sequence[Any]: ...


def planned(result: Result) -> Planned:
    """A fit, ready to plan with."""
    ladder = result.ensemble.ladder
    free = "n_tokens" in result.ensemble.best.law.inputs
    tokens = Tokens.of(ladder, free=free)
    return Planned(
        result.ensemble, tokens, even(result.ensemble, result.estimator, result.seed), optima=result.optima,
        level=result.level, seed=result.seed,
    )  # fmt: skip


def of_result(result: Result, held: tuple[float | None, float | None, float | None], **question: Any) -> list[Any]:
    """Rows of a plan, without what is nested."""
    rows = planned(result).answers(PlanRequest(**question, sharing=Sharing(*held)))
    found = []
    for row in rows:
        content = row.to_dict()
        flat = content.pop("flat") or (None, None)
        del content["optimum"], content["task"], content["score"]
        found.append({**content, "flat_low": flat[0], "flat_high": flat[1], "assumed": "; ".join(content["assumed"])})
    return found
