"""What a shell can complete: the values of each kind, with a word on each. It only looks, and never waits.

Each kind is a function of the database that is meant and of what has been typed, and gives values with what they are.
"""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path

from astraios import store

Kind = Callable[[Path, str], dict[str, str]]
SHOWN = 200
"""Most values of a kind that may have millions."""


def sweeps(db: Path, typed: str) -> dict[str, str]:
    """Built-in sweeps, and TOML files."""
    from astraios.collect.plan.extends import built_in_sweeps

    built_in = {name: _first_sentence(text) for name, text in built_in_sweeps().items()}
    return built_in | dict.fromkeys(sorted(glob.glob(f"{glob.escape(typed)}*.toml")), "a file")


def launchers(db: Path, typed: str) -> dict[str, str]:
    """Places where cells can run."""
    from astraios.collect.launch import LAUNCHERS

    return dict.fromkeys(LAUNCHERS.names(), "")


def methods(db: Path, typed: str) -> dict[str, str]:
    """Tuning methods."""
    from astraios.models.methods import METHODS

    return {method.name: method.title for method in METHODS}


def tasks(db: Path, typed: str) -> dict[str, str]:
    """Tasks that a model can be scored on."""
    from astraios.evaluate.tasks import TASKS

    return {task.name: task.title for task in TASKS}


def scored_tasks(db: Path, typed: str) -> dict[str, str]:
    """Tasks that the database has scores of."""
    sql = "select distinct task_id, coalesce(title, '') from evaluation join task using (task_id) order by all"
    return dict(store.glimpse(db, sql))


def formats(db: Path, typed: str) -> dict[str, str]:
    """Formats that can be imported."""
    from astraios.importers import IMPORTERS

    return {importer.name: importer.title for importer in IMPORTERS}


def charts(db: Path, typed: str) -> dict[str, str]:
    """Figures and tables of the report."""
    from astraios.report.base import FIGURES, TABLES

    return {figure.name: figure.title for figure in FIGURES} | {f"table-{table.name}": table.title for table in TABLES}


def laws(db: Path, typed: str) -> dict[str, str]:
    """Laws of the loss, and links to scores."""
    from astraios.fit.laws import LAWS
    from astraios.fit.links import LINKS

    return {
        "auto": "several, weighed",
        **dict.fromkeys(LAWS.names(), "law of the loss"),
        **dict.fromkeys(LINKS.names(), "link to a score"),
    }


def queries(db: Path, typed: str) -> dict[str, str]:
    """Queries that have a name."""
    return store.named_queries()


def studies(db: Path, typed: str) -> dict[str, str]:
    """Studies of the database; after a comma, one more."""
    before = typed[: typed.rfind(",") + 1]
    found = store.glimpse(db, "select study, n_runs from study order by n_runs desc, study limit ?", [SHOWN])
    return {before + name: f"{n_runs} runs" for name, n_runs in found}


def series(db: Path, typed: str) -> dict[str, str]:
    """What the studies of the database compare."""
    return dict(store.glimpse(db, "select distinct series, '' from run_series order by all limit ?", [SHOWN]))


def runs(db: Path, typed: str) -> dict[str, str]:
    """Runs of the database, by their ids."""
    sql = (
        "select run_id, concat_ws(' ', model_id, method_id, 'seed', seed) from run where starts_with(run_id, ?) "
        "order by all limit ?"
    )
    return dict(store.glimpse(db, sql, [typed, SHOWN]))


def sql(db: Path, typed: str) -> dict[str, str]:
    """Queries that end in the name of a view or table, where one is begun: within quotation marks, after a space."""
    begun = typed[: max(typed.rfind(sign) for sign in " (,") + 1]
    if not begun:
        return {}
    known = "from duckdb_views() where not internal union all select table_name, comment from duckdb_tables()"
    found = store.glimpse(db, f"select view_name, comment {known} order by all")
    return {begun + name: _first_sentence(comment or "") for name, comment in found}


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        sweeps, launchers, methods, tasks, scored_tasks, formats, charts, laws, queries, studies, series, runs, sql,
    )
}  # fmt: skip


def complete(kind: str, db: str | Path | None, typed: str) -> list[tuple[str, str]]:
    """Values of a kind that begin as typed, with what they are."""
    found = KINDS[kind](store.database_path(db), typed)
    return [(value, about) for value, about in found.items() if value.startswith(typed)]


def _first_sentence(text: str) -> str:
    return text.split("\n", 1)[0].removeprefix("#").strip().split(". ")[0].split(": ")[0]
