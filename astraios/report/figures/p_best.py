"""The probability of being the best method, by size."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import interval, lines, projected, size_axis, tips, with_sizes

SQL = """\
select r.origin, r.ladder, r.dataset_id, r.quantity, r.method_id, coalesce(t.title, r.method_id) as method, r.n_params,
    r.p_best, r.mean, r.low, r.high, r.level, r.fit_id
from main_ranking r
left join tuning_method t using (method_id)
where (select count(distinct n_params) from main_ranking) > 1
qualify max(r.p_best) over (partition by r.origin, r.ladder, r.dataset_id, r.method_id) >= 0.01
order by r.method_id, r.n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Lines over size, on an axis from 0 to 1."""
    what, form = projected(frame)
    shown = tips("p_best_words", "level", "fit_id", mean=(f"projected {what}", form), **interval(form, "low", "high"))
    best = "lowest test loss" if frame["quantity"][0] == "loss" else "highest mean score"
    return lines(
        with_sizes(frame), size_axis(frame), "p_best", f"probability of the {best}", tooltip=shown,
        as_percent=True, ends=(0.0, 1.0), height=260,
    )  # fmt: skip


FIGURE = Figure(
    name="p-best",
    title="Probability of being best, by size",
    section="projection",
    order=15,
    caption="From the joint uncertainty of the projected means. Methods that nowhere reach 1% are left out.",
    sql=SQL,
    draw=draw,
    missing="Projections of fewer than two sizes are stored: run astraios fit-scaling with several --target SIZE.",
)
