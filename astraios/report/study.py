"""Which runs belong on one chart: those of one ladder, one data set and one origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astraios.errors import DataError
from astraios.report.theme import clip

if TYPE_CHECKING:
    import polars as pl

    from astraios.report.base import Query

STUDIES = """\
select origin, ladder, dataset_id, n_runs, n_methods, n_sizes
from study
order by n_runs desc, origin, ladder, dataset_id"""
NAMES = {"starcoderbase": "StarCoderBase", "tiny": "the tiny ladder"}


@dataclass(frozen=True)
class Study:
    """One of the studies in a database; `alone` when there is no other, so that nothing needs to be filtered."""

    origin: str
    ladder: str | None
    dataset_id: str | None
    n_runs: int
    n_methods: int
    n_sizes: int
    alone: bool

    @property
    def title(self) -> str:
        """For headings: ladder, origin, data."""
        ladder = NAMES.get(self.ladder or "", clip(self.ladder or "models without a ladder"))
        data = f" on {clip(self.dataset_id)}" if self.dataset_id else ""
        return f"{ladder[:1].upper()}{ladder[1:]}{data} ({self.origin})"

    @property
    def counts(self) -> str:
        """How much there is of it, in words."""
        return ", ".join(
            f"{n:,} {word}{'' if n == 1 else 's'}"
            for n, word in ((self.n_runs, "run"), (self.n_methods, "tuning method"), (self.n_sizes, "size"))
        )

    def select(self, sql: str) -> str:
        """The query limited to this study: what the report runs, and what it prints beside each chart."""
        if self.alone:
            return sql
        terms = [
            f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" if value is not None else f"{name} is null"
            for name, value in (("origin", self.origin), ("ladder", self.ladder), ("dataset_id", self.dataset_id))
        ]
        return f"select * from (\n{sql}\n)\nwhere {' and '.join(terms)}"


def studies(query: Query) -> list[Study]:
    """The studies of a database, the one with most runs first; empty when nothing has finished."""
    frame: pl.DataFrame = query(STUDIES)
    return [Study(**row, alone=frame.height == 1) for row in frame.iter_rows(named=True)]


def choose(query: Query, wanted: str | None = None) -> Study | None:
    """The study whose ladder, origin or data set is `wanted`; without one the largest; None in an empty database.

    Raises:
        DataError: no study is called so.
    """
    known = studies(query)
    if wanted is None:
        return known[0] if known else None
    for study in known:
        if wanted in (study.ladder, study.origin, study.dataset_id):
            return study
    names = ", ".join(sorted({study.ladder or study.origin for study in known})) or "none"
    raise DataError(f"no study {clip(wanted)!r} in this database: known: {names}")
