"""The only package that opens the database: connect, migrate, ingest, query, write fits.

A database is one DuckDB file: an index of run directories that can be made anew from them at any time. A writer holds
it for the moment of one transaction; readers open it read-only. Who finds it locked waits a little, then says so.
"""

from astraios.store.check import failed_checks
from astraios.store.connect import DEFAULT_PATH, database_path, open_db, query, reading, run_query, writing
from astraios.store.ingest import IngestReport, ingest
from astraios.store.results import add_evaluation, import_frames, write_fits
from astraios.store.schema import sql_files

__all__ = [
    "DEFAULT_PATH",
    "IngestReport",
    "add_evaluation",
    "database_path",
    "failed_checks",
    "import_frames",
    "ingest",
    "open_db",
    "query",
    "reading",
    "run_query",
    "sql_files",
    "write_fits",
    "writing",
]
