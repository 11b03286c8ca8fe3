"""The two controls of the page that read stored answers: a budget on a slider, and a target size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astraios.report.theme import clip, method_domain, size_label

if TYPE_CHECKING:
    import polars as pl

    from astraios.report.base import Query
    from astraios.report.study import Study

BUDGETS = """\
select coalesce(t.title, b.series) as title, b.flops, b.device_hours, b.n_params, b.n_params_low, b.n_params_high,
    b.n_tokens, b.loss, b.new_low, b.new_high, b.sharing
from budget_line b
left join tuning_method t on t.method_id = b.series
where b.loss is not null
order by title, b.flops"""
TARGETS = """\
select c.method_id, coalesce(t.title, c.method_id) as title, c.n_params, c.n_tokens, c.mean, c.low, c.high, c.new_low,
    c.new_high, c.level, c.p_best
from latest_curve c
left join tuning_method t using (method_id)
where coalesce(c.split, 'test') = 'test'
order by c.n_tokens, c.n_params"""
GAPS = """\
select g.what, coalesce(t.title, g.series) as title, g.why
from not_planned g
left join tuning_method t on t.method_id = g.series
order by g.what, title"""
MISSING = {"budgets": "No row of budgets", "speed_up": "No speed-up", "next_run": "No next runs to buy"}
"""What each kind of gap is called."""


def budgets(query: Query, study: Study | None) -> list[dict[str, Any]]:
    """A row of budgets of each series: title, sharing, rows."""
    frame = _asked(query, study, BUDGETS)
    return [
        {"title": clip(str(title)), "sharing": part["sharing"][0], "rows": part.drop("title", "sharing").to_dicts()}
        for (title,), part in frame.group_by(["title"], maintain_order=True)
    ]


def targets(query: Query, study: Study | None) -> list[dict[str, Any]]:
    """The projections over size, for each amount of data (in words; one that is empty where size is all there is).

    The rows of a series are [n_params, mean, low, high, new_low, new_high, p_best], from the smallest size.
    """
    frame = _asked(query, study, TARGETS)
    found = []
    for (amount,), part in frame.group_by(["n_tokens"], maintain_order=True):
        named = dict(part.select("method_id", "title").unique().rows())
        columns = ["n_params", "mean", "low", "high", "new_low", "new_high", "p_best"]
        series = [
            {"id": key, "title": clip(named[key]), "rows": part.filter(method_id=key).select(columns).rows()}
            for key in method_domain(list(named))
            if key in named
        ]
        words = "" if amount is None else size_label(float(amount))  # type: ignore[arg-type]
        found.append({"tokens": words, "level": part["level"][0], "series": series})
    return found


def gaps(query: Query, study: Study | None) -> list[str]:
    """What the newest fit-scaling could not plan, and why, a line each."""
    rows = _asked(query, study, GAPS).rows()
    return [f"{MISSING[what]}{f' for {clip(title)}' if title else ''}: {clip(why, 300)}" for what, title, why in rows]


def _asked(query: Query, study: Study | None, sql: str) -> pl.DataFrame:
    return query(study.select(sql) if study else sql)
