"""Whether scores and losses meet: a score is predicted from a loss only where both belong to one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astraios import store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SQL = """
with told as (
    select r.run_id, r.method_id, coalesce(r.settings ->> 'name', r.run_id) as name,
        r.run_id in (select run_id from score) as scored,
        r.run_id in (select run_id from loss_summary) as lost
    from run r where r.origin <> 'published'
)
select
    count(*) filter (scored and lost) as met,
    count(*) filter (scored and not lost and method_id <> 'none') as scores_of_tuned,
    count(*) filter (scored and not lost) as scores,
    count(*) filter (lost and not scored) as losses,
    min(name) filter (scored and not lost) as scored_name,
    min(run_id) filter (lost and not scored) as one_lost
from told
"""


def apart(connection: DuckDBPyConnection) -> str | None:
    """One line about scores of runs that have no loss beside losses of runs that have no score, and how to join them.

    Bases that were evaluated as they are lack no loss where other runs have both.
    """
    row = store.run_query(connection, _SQL).row(0, named=True)
    scores = row["scores_of_tuned"] if row["met"] else row["scores"]
    if not scores or not row["losses"]:
        return None
    met = f"{_runs(row['met'])} have both" if row["met"] else "no run has both"
    return (
        f"scores and losses do not meet: {_runs(scores)} with scores and no loss (as {row['scored_name']}), "
        f"{_runs(row['losses'])} with losses and no score, {met}; join each with `astraios import RESULTS --set "
        f"run_id={row['one_lost']}`, or import the results from where the model's folder can be found"
    )


def _runs(n: int) -> str:
    return f"{n:,} run{'' if n == 1 else 's'}"
