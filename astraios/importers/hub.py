"""Data sets of results on the hub: `hf://datasets/OWNER/NAME/FILE` (Parquet, CSV or JSON lines), read as tables.

DuckDB reads the file, by a connection that holds no database and may touch nothing else of this machine's.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers.table import table

PREFIX = "hf://"
_READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".jsonl": "read_json", ".json": "read_json"}
_MOST_ROWS = 5_000_000


@dataclass(frozen=True)
class Hub(Importer):
    """One file, or a pattern of files, of a data set."""

    def matches(self, source: str) -> bool:
        return source.startswith(PREFIX)

    def read(self, source: str, wanted: Wanted) -> Imported:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{Path(source).stem or 'table'}.parquet"
            fetch(source, path)
            return table.read(str(path), wanted)


hub = Hub(name="hub", title="data set on the hub", priority=20, maps=True)


def fetch(source: str, path: Path) -> None:
    """Writes a table that DuckDB can reach to a Parquet file.

    Raises:
        DataError: it can't be read, or is too large.
    """
    import duckdb

    reader = next((name for ending, name in _READERS.items() if source.removesuffix(".gz").endswith(ending)), None)
    if reader is None:
        raise DataError(f"{source}: name a Parquet, CSV or JSON file of the data set")
    with duckdb.connect() as connection:
        try:
            rows: Any = connection.sql(
                f"from {reader}($source) limit {_MOST_ROWS + 1}", params={"source": source}
            ).to_arrow_table()
        except duckdb.Error as error:
            raise DataError(f"{source}: can't be read ({str(error).splitlines()[0]:.160})") from None
    if len(rows) > _MOST_ROWS:
        raise DataError(f"{source}: more than {_MOST_ROWS:,} rows")
    from pyarrow import parquet

    parquet.write_table(rows, path)
