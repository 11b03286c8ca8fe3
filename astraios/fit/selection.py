"""What an analysis works on: the rows that a request selected, and what the sizes among them are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astraios.fit.sizes import hidden_size, target_sizes

if TYPE_CHECKING:
    import polars as pl

    from astraios.fit.notes import FitWarning
    from astraios.fit.request import FitRequest


@dataclass(frozen=True)
class Selection:
    """Runs of one study."""

    losses: pl.DataFrame | None
    """A row a run: method_id, run_id, n_params, n_tokens (may be null), loss (nats), and the facts of the run (seed,
    model_id, learning_rate, ...); None where the study has scores alone, which are then projected from size."""
    scores: pl.DataFrame | None = None
    """Columns run_id, method_id, n_params, task_id, metric, value (a fraction), and loss beside losses; stderr, n,
    chance, ceiling, higher_is_better and engine (what generated the answers) where they are known."""
    along: pl.DataFrame | None = None
    """Scores along training with the loss at that step: columns as in `scores`, and step."""
    costs: pl.DataFrame | None = None
    """Columns run_id, n_params, hours (device-hours of the run), flops (of its training), n_tokens."""
    series: tuple[str, ...] = ("method_id",)
    """Facts that tell series apart by default."""
    settings: tuple[str, ...] = ()
    """Facts that are settings of the tuning method: where they vary they make series of their own."""
    not_facts: tuple[str, ...] = ()
    """Columns of `losses` that follow from others."""
    repeats: tuple[str, ...] = ()
    """Facts that are noise because of how the runs were chosen: the origin, where studies were joined on purpose."""
    curated: bool = True
    """Whether every other column is a fact about how a run was made (not so in a user's own table)."""
    notes: tuple[FitWarning, ...] = ()
    """What was assumed in choosing them."""
    study: Mapping[str, Any] = field(default_factory=dict)
    """What names the study: study, study_key, origin, n_runs."""
    query_hash: str | None = None
    """Hash of the rows that `sql` gave."""
    ladder: str | None = None
    names: Mapping[str, float] = field(default_factory=dict)
    """Parameters by the short names of the ladder's rungs, lower case."""
    sql: str | None = None
    """The query, or the name of the file, that gave the rows."""
    loss_quantity: str = "nats"
    """What the losses are, unless the request says otherwise."""
    size_name: str = "n_params"
    """What the source calls sizes."""
    rates_apart: bool = False
    """Whether learning rates are series of their own, for no loss ranks them."""
    data_counts: bool = False
    """Whether the amount of data was asked for, so that its having no part in the fit is a warning."""

    @property
    def n_params(self) -> list[float]:
        """Sizes that there are runs of, ascending."""
        rows = self.scores if self.losses is None else self.losses
        return [] if rows is None else sorted(rows["n_params"].drop_nulls().unique())

    def targets(self, request: FitRequest) -> list[float]:
        """Sizes to project to: those asked for, else the ladder's next rung.

        Raises:
            UsageError: what was asked for is no size.
        """
        return target_sizes(request.targets, self.n_params, self.names)

    def hidden(self, request: FitRequest) -> float | None:
        """The smallest size that the backtest hides, or None for no backtest.

        Raises:
            FitError: no size is as large.
            UsageError: nothing of the size that was named was measured.
        """
        return hidden_size(request.holdout, self.n_params, self.names)
