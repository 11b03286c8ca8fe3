"""Studies of a database: what may be compared, and along which axes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import AstraiosError

if TYPE_CHECKING:
    import polars as pl


def studies(db: str | Path | None = None) -> list[dict[str, Any]]:
    """The studies of a database, the one with most runs first (`astraios.studies`).

    Args:
        db: the database; by default $ASTRAIOS_DB, else astraios.duckdb in the current folder.

    Returns:
        One object a study: study, study_key, origin, ladder, dataset_id, n_runs, n_series, n_sizes, axes (fact, role,
        values; an axis without a role has role null), fit (current, stale or none).

    Raises:
        StoreError: no database.
    """
    path = store.database_path(db)
    with store.reading(path) as connection:
        stale = store.stale_fits(connection)
        fitted = set(store.run_query(connection, "select distinct study_key from fit")["study_key"].drop_nulls())
        found = []
        for row in store.all_studies(connection).iter_rows(named=True):
            one = store.Study((row["study"],), (row["study_key"],))
            n_series = store.run_query(
                connection, f"select count(distinct series) as n from run_series where {one.condition_of_key}"
            )["n"][0]
            names = ("study", "study_key", "origin", "ladder", "dataset_id", "n_runs")
            state = "stale" if row["study_key"] in stale else "current" if row["study_key"] in fitted else "none"
            found.append(
                {name: row[name] for name in names}
                | {"n_series": n_series, "n_sizes": row["n_sizes"], "axes": _axes(connection, one), "fit": state}
            )
    return found


def _axes(connection: Any, study: store.Study) -> list[dict[str, Any]]:
    """Axes with their roles by default; those that no role is known for have none."""
    from astraios.fit.axes import Roles, arrange

    facts = store.facts(connection, study)
    runs = store.run_query(connection, f"select run_id, n_params, n_tokens from run where {study.condition}")
    frame = runs.join(facts.frame, on="run_id").with_columns(loss=1.0)
    inputs = ["n_params", *(["n_tokens"] if frame["n_tokens"].null_count() == 0 else [])]
    points = arrange(
        frame, inputs=inputs, series=["method_id"], roles=Roles(), settings=facts.settings,
        not_facts=(*facts.derived, "n_tokens"), curated=True, only_axes=True,
    )  # fmt: skip
    return [axis.to_dict() for axis in points.axes]


def hints(path: Path) -> list[str]:
    """What to do about fits that rest on other runs than there are now, a line a study."""
    try:
        with store.reading(path) as connection:
            stale = store.stale_fits(connection)
    except AstraiosError:
        return []
    return [
        f"the last fit of {key.split(':')[0]} rests on other runs than there are now: {how}"
        for key, how in stale.items()
    ]


def since_last_fit(connection: Any, study_key: str | None, split: str) -> pl.DataFrame:
    """The newest projections of a study, and the runs that they rest on, as they are before a new fit is stored.

    Columns method_id, n_params, n_tokens, mean, run_ids.
    """
    key = "'" + str(study_key).replace("'", "''") + "'"
    return store.run_query(
        connection,
        "select p.method_id, p.n_params, p.n_tokens, p.mean, f.created_at, "
        "(select list(distinct q.run_id) from fit_point q where q.fit_id = p.fit_id and q.run_id is not null) "
        "as run_ids\n"
        f"from latest_projection p join fit f using (fit_id) where p.study_key = {key} and p.role = 'target' "
        "and p.quantity = 'loss' and p.split = '" + split.replace("'", "''") + "' order by all",
    )
