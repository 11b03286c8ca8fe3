"""What is asked of an analysis: one frozen object from the command line to the rows of the table `fit`."""

from __future__ import annotations

from dataclasses import dataclass, field

from astraios.errors import UsageError
from astraios.fit.axes import Roles
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

    def check(self) -> None:
        """Raises a UsageError unless the level is a probability."""
        if not 0 < self.level < 1:
            raise UsageError(f"level {self.level} is not between 0 and 1: write for instance 0.9")
