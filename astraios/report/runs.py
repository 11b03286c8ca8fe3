"""The runs behind a study's charts: what a point tells when it is pointed at, and a row of its own for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astraios.report.theme import method_domain

if TYPE_CHECKING:
    import polars as pl

    from astraios.report.base import Query
    from astraios.report.study import Study

RUNS = """\
select r.run_id, r.method_id, coalesce(t.title, r.method_id) as method, r.n_params, r.n_tokens, r.seed, a.state,
    l.loss_nats as test_loss, a.device_seconds
from run r
join latest_attempt a using (run_id)
left join tuning_method t on t.method_id = r.method_id
left join final_loss l on l.run_id = r.run_id and l.split = 'test'
where a.state = 'done'
order by r.n_params, r.method_id, r.seed, r.run_id"""
MOST = 5_000
"""Rows that a page holds; a larger study is told to use SQL."""


def runs(query: Query, study: Study) -> pl.DataFrame:
    """The finished runs that the study's charts show, one row each."""
    return query(study.select(RUNS))


def series(frames: list[pl.DataFrame]) -> list[tuple[str, str]]:
    """The series of these runs, in the order that charts have them: key and title."""
    titles = {key: title for frame in frames for key, title in frame.select("method_id", "method").unique().rows()}
    return [(key, titles[key]) for key in method_domain(list(titles)) if key in titles]
