"""Instruction data from a JSONL or Parquet file of the user's own (gzipped or not).

Options of the sweep's [data] table: `path`, `prompt_column`, `completion_column` (by default "prompt" and
"completion") or `messages_column` (conversations), `test_share` (0.05) or `test_path`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from astraios.data.sources import InstructionData, Record, Source
from astraios.data.sources._rows import OPTIONS, Columns
from astraios.errors import DataError


@dataclass(frozen=True)
class Table(Source):
    """Rows of a file, split by a hash of their text."""

    options: ClassVar[Mapping[str, str]] = {**OPTIONS, "path": "str", "test_path": "str", "test_share": "float"}

    def load(self, options: Mapping[str, Any]) -> InstructionData:
        if "path" not in options:
            raise DataError("[data] source = 'table' needs path = 'FILE.jsonl' or 'FILE.parquet'")
        columns = Columns.of(options)
        records = read_records(Path(options["path"]), columns)
        if "test_path" in options:
            train, test = records, read_records(Path(options["test_path"]), columns)
        else:
            share = float(options.get("test_share", 0.05))
            train = [r for r in records if _position(r) >= share]
            test = [r for r in records if _position(r) < share]
        if not train or not test:
            raise DataError(f"{options['path']}: {len(train)} training and {len(test)} test rows; set test_share")
        return InstructionData(name=Path(options["path"]).name, train=tuple(train), test=tuple(test))


def _position(record: Record) -> float:
    texts = (*(text for _, text in record.earlier), record.prompt, record.completion)
    digest = hashlib.sha256("\0".join(texts).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def read_records(path: Path, columns: Columns = Columns()) -> list[Record]:
    """The rows of a JSONL (.jsonl, .json, .gz) or Parquet file.

    Raises:
        DataError: no such file or column, or an empty or missing answer; the line names file and row.
    """
    if not path.is_file():
        raise DataError(f"no data file {path}: [data] path")
    try:
        rows = _parquet_rows(path) if path.suffix == ".parquet" else _jsonl_rows(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable JSONL or Parquet file ({error})") from None
    records = [columns.record(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    if not records:
        raise DataError(f"{path}: no rows")
    return records


def _jsonl_rows(path: Path) -> list[Any]:
    import gzip
    import json

    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def _parquet_rows(path: Path) -> list[Any]:
    from pyarrow import ArrowInvalid, parquet

    try:
        return list(parquet.read_table(path).to_pylist())
    except ArrowInvalid as error:
        raise ValueError(str(error).splitlines()[0]) from None


table = Table(name="table")
