"""The report of a database: figures and tables, as a page, as files, or served; and the chart of one fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import altair as alt

    from astraios.report.fit_chart import Result


def plot(result: Result) -> alt.TopLevelMixin:
    """A fit over its data, as an Altair chart: the law, the intervals of its mean and of one new run, the runs.

    Args:
        result: what `astraios.fit` gave back.
    """
    from astraios.report.fit_chart import draw

    return draw(result)
