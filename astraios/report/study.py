"""Which runs belong on one chart: those of one study, or of several that were joined on purpose."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astraios.errors import AstraiosError, UsageError, did_you_mean
from astraios.records.fitted import fingerprint
from astraios.report.theme import clip, size_label

if TYPE_CHECKING:
    import polars as pl

    from astraios.report.base import Query

STUDIES = """\
select study, study_key, origin, ladder, dataset_id, n_runs, n_methods, n_sizes,
    exists (select 1 from run_series s join run r using (run_id)
        where s.study_key = study.study_key and s.series <> r.method_id) as has_settings,
    coalesce(o.n_outranked, 0) as n_outranked,
    exists (select 1 from run_series s where s.study_key = study.study_key and s.is_rate_apart) as has_rates_apart
from study
left join (select study_key, count(*) as n_outranked from outranked_run group by study_key) o using (study_key)
order by n_runs desc, study"""
NAMES = {"starcoderbase": "StarCoderBase", "tiny": "the tiny ladder"}
OF_RUNS = (
    "final_loss",
    "final_score",
    "loss_curve",
    "cost_frontier",
    "loss_to_score",
    "method_size_grid",
    "mean_task_score",
)
"""Views with the columns study_key and series."""
WITHOUT_RUNS = ("method_size_grid", "mean_task_score")
"""Those of them that have no run_id: each row is a mean over runs already."""
OF_ALL_RUNS = ("rate_loss", "rate_curve")
"""The same of all runs, those that are outranked too: they compare learning rates."""
OF_FITS = (
    "latest_curve", "latest_projection", "latest_backtest", "ranking", "main_ranking", "crossing", "fit_study",
    "task_quality", "pass_at_k", "budget_line", "isoflop_line", "next_run", "not_planned", "speed_up",
    "latest_fit_point",
)  # fmt: skip
"""Views of fits, with the column study_key."""


@dataclass(frozen=True)
class Study:
    """One of the studies in a database, or several joined; `alone` when there is no other."""

    name: str
    keys: tuple[str, ...]
    origin: str
    ladder: str | None
    dataset_id: str | None
    n_runs: int
    n_methods: int
    n_sizes: int
    has_settings: bool
    """Whether settings of methods make series of their own (lora rank=8)."""
    n_outranked: int
    """Runs behind no point of a chart: at a beaten learning rate, or with less data (view outranked_run)."""
    has_rates_apart: bool
    """Whether learning rates make series of their own (lora lr=0.001), for no loss ranks them."""
    alone: bool

    @property
    def key(self) -> str:
        """As fits name it (column fit.study)."""
        return ",".join(sorted(self.keys))

    @property
    def title(self) -> str:
        """For headings: ladder, origin, data."""
        ladder = NAMES.get(self.ladder or "", clip(self.ladder or self.name))
        data = f" on {clip(self.dataset_id)}" if self.dataset_id else ""
        return f"{ladder[:1].upper()}{ladder[1:]}{data} ({self.origin})"

    @property
    def counts(self) -> str:
        """How much there is of it, in words."""
        return ", ".join(
            f"{n:,} {word}{'' if n == 1 else 's'}"
            for n, word in ((self.n_runs, "run"), (self.n_methods, "tuning method"), (self.n_sizes, "size"))
        )

    @property
    def left_out(self) -> str:
        """What charts of measured runs leave out or tell apart, in words; empty when they show every run as it is."""
        apart = (
            "Several learning rates have scores and no loss that ranks them: each rate is a series of its own."
            if self.has_rates_apart
            else ""
        )
        if not self.n_outranked:
            return apart
        return f"{apart} ".lstrip() + (
            f"Charts of measured runs show, of each size, the most data and the best learning rate there; "
            f"{self.n_outranked:,} of the {self.n_runs:,} runs are outranked (view outranked_run)."
        )

    def select(self, sql: str) -> str:
        """The query limited to this study: what the report runs, and what it prints beside each chart.

        Each view that the query reads is replaced, by a common table expression of its name, by its rows of the study,
        with the series in place of the method.
        """
        if self.alone and not self.has_settings and not self.n_outranked:
            return sql
        limits = [
            f"{view} as ({self._limited(view)})"
            for view in (*OF_RUNS, *OF_ALL_RUNS, *OF_FITS, "run", "correlations")
            if _reads(sql, view)
        ]
        if not limits:
            return sql
        head = "with " + ",\n".join(limits)
        return f"{head},\n{sql.removeprefix('with ')}" if sql.startswith("with ") else f"{head}\n{sql}"

    def _limited(self, view: str) -> str:
        keys = ", ".join(map(_literal, self.keys))
        shown = " and run_id not in (select run_id from main.outranked_run)" if self.n_outranked else ""
        if view == "run":
            return (
                "select r.* replace (s.series as method_id) from main.run r join run_series s using (run_id) "
                f"where s.study_key in ({keys}){shown}"
            )
        if view == "correlations":
            same = " and ".join(
                f"{name} = {_literal(value)}" if value is not None else f"{name} is null"
                for name, value in (("origin", self.origin), ("ladder", self.ladder), ("dataset_id", self.dataset_id))
            )
            return f"select * from main.correlations where {same}"
        if view in OF_FITS:
            return f"select * from main.{view} where study_key = {_literal(self.key)}"
        limited = f"select * replace (series as method_id) from main.{view} where study_key in ({keys})"
        if view == "method_size_grid" and shown:
            return f"{limited} and is_most_data"
        return limited if view in (*WITHOUT_RUNS, *OF_ALL_RUNS) else limited + shown


def reads_fits(sql: str) -> bool:
    """Whether a query reads what fits say."""
    return any(_reads(sql, view) for view in OF_FITS)


def _reads(sql: str, view: str) -> bool:
    return re.search(rf"\b(from|join)\s+{view}\b", sql) is not None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def studies(query: Query) -> list[Study]:
    """The studies of a database, the one with most runs first; empty when nothing has finished."""
    frame: pl.DataFrame = query(STUDIES)
    return [
        Study(row.pop("study"), (row.pop("study_key"),), **row, alone=frame.height == 1)
        for row in frame.iter_rows(named=True)
    ]


def choose(query: Query, wanted: str | None = None) -> Study | None:
    """The study that `wanted` names (or begins to name; several with commas); without a name the only one.

    Raises:
        UsageError: no study is called so, or there are several and none was named; the line lists them.
    """
    known = studies(query)
    if wanted is None:
        if len(known) > 1:
            listed = ", ".join(f"{clip(study.name)} ({study.n_runs:,} runs)" for study in known)
            raise UsageError(f"the database holds {len(known)} studies, {listed}: choose one with --study NAME")
        return known[0] if known else None
    found = [_find(name.strip(), known) for name in wanted.split(",")]
    return found[0] if len(found) == 1 else _joined(found)


def _find(wanted: str, known: list[Study]) -> Study:
    exact = [study for study in known if wanted in (study.name, *study.keys)]
    near = exact or [study for study in known if wanted and study.name.startswith(wanted)]
    if len(near) != 1:
        what = f"fits {', '.join(clip(study.name) for study in near)}" if near else "is no study"
        raise UsageError(f"--study {clip(wanted)} {what}: {did_you_mean(wanted, [study.name for study in known])}")
    return near[0]


def _joined(parts: list[Study]) -> Study:
    def shared(values: list[str | None]) -> str | None:
        return values[0] if len(set(values)) == 1 else None

    return Study(
        ",".join(study.name for study in parts),
        tuple(key for study in parts for key in study.keys),
        " and ".join(dict.fromkeys(study.origin for study in parts)),
        shared([study.ladder for study in parts]),
        shared([study.dataset_id for study in parts]),
        sum(study.n_runs for study in parts),
        max(study.n_methods for study in parts),
        max(study.n_sizes for study in parts),
        any(study.has_settings for study in parts),
        sum(study.n_outranked for study in parts),
        any(study.has_rates_apart for study in parts),
        False,
    )


@dataclass(frozen=True)
class FitState:
    """How the newest fit of a study stands to its runs."""

    axes: str
    """What is compared and along what, in words."""
    warning: str
    """Empty, or why the fit's numbers are not those of the runs as they are now, and the command that renews it."""


def fit_state(query: Query, study: Study) -> FitState:
    """The axes of a study's newest fit, and whether it is stale."""
    newest = query(
        f"select data_sql, query_hash, axes, before_studies from newest_fit where study_key = {_literal(study.key)}"
    )
    if newest.is_empty():
        return FitState("", "")
    row = newest.row(0, named=True)
    how = f"run astraios fit-scaling --study {study.name}"
    axes = "; ".join(_axis(axis) for axis in json.loads(row["axes"] or "[]"))
    if row["before_studies"]:
        return FitState(axes, f"These projections were made before studies existed, and may mix them: {how}.")
    try:
        fresh = fingerprint(query(row["data_sql"]).rows())
    except AstraiosError:
        fresh = ""
    if fresh == row["query_hash"]:
        return FitState(axes, "")
    return FitState(axes, f"These projections are stale: the runs have changed since they were made; {how}.")


def _axis(axis: dict[str, Any]) -> str:
    say = size_label if axis["fact"] in COUNTS else _plain
    values = [clip(say(value)) for value in axis["values"][:6]]
    more = f", ... ({len(axis['values'])} in all)" if len(axis["values"]) > 6 else ""
    return f"{axis['fact']} ({axis['role']}): {', '.join(values)}{more}"


COUNTS = ("n_params", "n_params_nonembedding", "n_tokens", "unique_tokens")
"""Facts whose values are written as sizes are everywhere on the page: 1.65M."""


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
