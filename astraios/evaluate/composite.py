"""A mean score of one's own as people write it: tasks, each with a metric and a weight where they say so."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from astraios.errors import UsageError
from astraios.records import CompositeRow

BUILT_IN = ("astraios", "tiny")
"""Means that every database holds from the start."""
_TERM = re.compile(r"(?P<task>[^:=\s]+)(:(?P<metric>[^=\s]+))?(=(?P<weight>\S+))?")


def composite_rows(name: str, terms: Iterable[str], study: str | None = None) -> list[CompositeRow]:
    """The rows of one mean.

    >>> [(row.task_id, row.metric, row.weight) for row in composite_rows("mine", ["mutant", "devign:accuracy=2"])]
    [('mutant', None, 1.0), ('devign', 'accuracy', 2.0)]

    Args:
        name: of the mean.
        terms: TASK, TASK:METRIC, TASK=WEIGHT or TASK:METRIC=WEIGHT each.
        study: that it is for; None for all.

    Raises:
        UsageError: the name is one of the built-in means, a term is malformed or there twice, or there is none.
    """
    if name in BUILT_IN or not re.fullmatch(r"[\w.-]+", name):
        raise UsageError(
            f"composite {name!r}: give it a name of your own, of letters, digits, '.', '-' and '_'"
            + (" (this one comes with astraios)" if name in BUILT_IN else "")
        )
    rows = [_row(name, term, study) for term in terms]
    if not rows:
        raise UsageError(f"composite {name!r} has no task: TASK[:METRIC][=WEIGHT]...")
    if len({(row.task_id, row.metric) for row in rows}) < len(rows):
        raise UsageError(f"composite {name!r} names the same task twice")
    return rows


def _row(name: str, term: str, study: str | None) -> CompositeRow:
    found = _TERM.fullmatch(term)
    if found is None:
        raise UsageError(f"composite {name!r}: {term!r}: write TASK[:METRIC][=WEIGHT]")
    text = found["weight"] or "1"
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise UsageError(f"composite {name!r}: {term!r}: the weight must be a number above 0")
    return CompositeRow(name=name, task_id=found["task"], metric=found["metric"], weight=weight, study=study)
