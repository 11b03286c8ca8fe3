"""The only package that opens the database: connect, migrate, ingest, query, write fits.

A database is one DuckDB file: an index of run directories that can be made anew from them at any time. One writer at a
time makes a new version of the file beside it and puts it in its place; readers keep the version that they have
opened. So neither waits for the other.
"""

from astraios.store.check import check_directories, failed_checks, own_objects
from astraios.store.composites import composite_study, composites, remove_composite, scored_metrics, set_composites
from astraios.store.connect import (
    DEFAULT_PATH,
    change,
    database_path,
    glimpse,
    open_db,
    query,
    reading,
    reading_much,
    run_query,
    writing,
)
from astraios.store.curation import curate
from astraios.store.describe import Catalogue, catalogue, catalogue_of_new
from astraios.store.export import export
from astraios.store.fits import backtest_rows, write_fits
from astraios.store.ingest import IngestReport, ingest, watch
from astraios.store.loads import Load, add_results, alike, evaluations_of, stored_runs, undo
from astraios.store.named import named_queries, named_query
from astraios.store.plans import write_plans
from astraios.store.quality import replace_of_study
from astraios.store.rebuild import RebuildReport, differences, rebuild
from astraios.store.results import import_frames
from astraios.store.schema import sql_files
from astraios.store.studies import RunFacts, Study, facts, listed_studies, rows_hash, stale_fits
from astraios.store.studies import choose as choose_study
from astraios.store.studies import studies as all_studies
from astraios.store.task_facts import forget_task_facts, known_tasks, set_task_fact, task_facts

__all__ = [
    "DEFAULT_PATH",
    "Catalogue",
    "IngestReport",
    "Load",
    "RebuildReport",
    "RunFacts",
    "Study",
    "add_results",
    "alike",
    "all_studies",
    "backtest_rows",
    "catalogue",
    "catalogue_of_new",
    "change",
    "check_directories",
    "choose_study",
    "composite_study",
    "composites",
    "curate",
    "database_path",
    "differences",
    "evaluations_of",
    "export",
    "facts",
    "failed_checks",
    "forget_task_facts",
    "glimpse",
    "import_frames",
    "ingest",
    "known_tasks",
    "listed_studies",
    "named_queries",
    "named_query",
    "open_db",
    "own_objects",
    "query",
    "reading",
    "reading_much",
    "rebuild",
    "remove_composite",
    "replace_of_study",
    "rows_hash",
    "run_query",
    "scored_metrics",
    "set_composites",
    "set_task_fact",
    "sql_files",
    "stale_fits",
    "stored_runs",
    "task_facts",
    "undo",
    "watch",
    "write_fits",
    "write_plans",
    "writing",
]
