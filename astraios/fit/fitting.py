"""One law to all series of a ladder, in the way that the law asks for."""

from __future__ import annotations

from astraios.fit.laws import Law
from astraios.fit.observations import Ladder
from astraios.fit.pooling import ESTIMATORS, PooledFit, pool_partially
from astraios.fit.tied import pool_tied


def pool(
    law: Law, ladder: Ladder, estimator: str = "huber", seed: int = 0, starts: int = 16, alone: bool = False,
    begun: PooledFit | None = None,
) -> PooledFit:  # fmt: skip
    """Fit a law: its shape shared outright where it is tied, else as strongly as the data say.

    Args:
        law: of inputs that the ladder has.
        ladder: all series.
        estimator: one of ESTIMATORS.
        seed: of the starts.
        starts: of each series in the first pass; later passes are warm.
        alone: whether series keep their shapes to themselves (see `pool_partially`; no matter to a tied law).
        begun: a fit of the same to go on from.
    """
    rule = ESTIMATORS[estimator]
    return pool_tied(law, ladder, rule, seed, starts) if law.tied else pool_partially(
        law, ladder, rule, seed, starts, alone, begun
    )  # fmt: skip
