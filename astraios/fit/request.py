"""What is asked of an analysis: one frozen object from the command line to the rows of the table `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from astraios.errors import UsageError
from astraios.fit.axes import Roles
from astraios.fit.sizes import parse_size
from astraios.fit.targets import DataRule


@dataclass(frozen=True)
class FitRequest:
    """The options of `astraios fit-scaling`.

    Nobody copies them on the way. A new option is a field here, an option of `astraios/cli/fit.py`, and the place that
    reads it; one that has the name of a column of the table `fit` is stored there.
    """

    law: str = "auto"
    """A law of losses, or auto; where there are scores and no losses, a link."""
    link: str = "auto"
    """A link from loss to score, or auto."""
    through: str = "auto"
    """What scores are predicted through: test, size, compute, a metric of the task, or auto."""
    split: str = "test"
    loss_definition: str = "last"
    """Which final loss: last, min or mean_last5."""
    ladder: str | None = None
    study: str | None = None
    """A study by its name or the beginning of it; several with commas, which joins them."""
    roles: Roles = field(default_factory=Roles)
    """What axes are: --by, --where, --best-over, --repeat."""
    data_rule: DataRule = field(default_factory=DataRule)
    """How much data targets have; by default what the runs say."""
    targets: tuple[str | float, ...] = ()
    """Sizes to project to: short names of the ladder, or numbers of parameters; without any, the ladder's next rung."""
    holdout: str | float | None = "largest"
    """largest, none (or None), or a size: it and all larger ones are hidden in the backtest."""
    level: float = 0.9
    """Nominal coverage of the intervals."""
    seed: int = 0
    estimator: str = "huber"
    loss_quantity: str | None = None
    """What the losses are (see `astraios.fit.quantities`): the floor's prior follows it. None: as they look."""
    inputs: tuple[tuple[str, str], ...] = ()
    """Further inputs of laws with the facts (or columns) that hold them: --input NAME=FACT."""
    at: tuple[tuple[str, float], ...] = ()
    """Values of further inputs at the targets; without one the most that the runs have: --at NAME=VALUE."""
    decayed_ends: bool = False
    """Whether points are the ends of decays of the learning rate, of which a run may have several, instead of ends of
    runs (see `astraios.fit.decays`)."""
    base_noise: float | None = None
    """Spread of log losses between base models of one size, where one a size hides it. None: assumed and said."""

    @classmethod
    def of_options(
        cls, *, by: Sequence[str] = (), where: Sequence[str] = (), best_over: Sequence[str] = (),
        repeat: Sequence[str] = (), target_tokens: str | None = None, tokens_per_param: float | None = None,
        target_flops: str | None = None, inputs: Sequence[str] = (), at: Sequence[str] = (), **options: Any,
    ) -> FitRequest:  # fmt: skip
        """A request from options as people write them: facts with commas, FACT=VALUE, 140B.

        Raises:
            UsageError: an option that makes no sense.
        """
        pairs = []
        for text in where:
            fact, found, value = text.partition("=")
            if not found or not fact:
                raise UsageError(f"--where {text!r}: write FACT=VALUE, for instance --where rank=16")
            pairs.append((fact.strip(), value.strip()))
        roles = Roles(_facts(by), tuple(pairs), _facts(best_over), _facts(repeat))
        tokens, flops = (None if text is None else parse_size(text) for text in (target_tokens, target_flops))
        named = tuple(_pair(text, "--input", "n_experts=experts") for text in inputs)
        values = tuple((name, parse_size(value)) for name, value in (_pair(one, "--at", "n_experts=64") for one in at))
        return cls(
            roles=roles, data_rule=DataRule(tokens, tokens_per_param, flops), inputs=named, at=values, **options
        )  # fmt: skip

    def check(self) -> None:
        """Raises a UsageError unless the level is a probability."""
        if not 0 < self.level < 1:
            raise UsageError(f"level {self.level} is not between 0 and 1: write for instance 0.9")


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not (found and name.strip() and value.strip()):
        raise UsageError(f"{option} {text!r}: write NAME=..., for instance {option} {example}")
    return name.strip(), value.strip()


def _facts(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(fact.strip() for text in texts for fact in text.split(",") if fact.strip())
