"""Run directories into the database: each whole or not at all, and the same one twice changes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.collect.spool import read_manifest
from astraios.errors import StoreError
from astraios.store.connect import writing
from astraios.store.rows import KEYS, LONG_TABLES, SUMMARISE, arrow_table, insert, merge

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BATCH = 500
"""Run directories in one transaction."""


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did."""

    n_new: int
    n_known: int
    """Run directories whose content the database held already."""
    skipped: Mapping[str, str]
    """Reasons by name of the run directory."""


def ingest(path: Path, out: Path) -> IngestReport:
    """Takes the run directories under `out` into the database; what it holds already is left alone.

    Raises:
        StoreError: the database can't be written or stays locked.
    """
    found = sorted(p.parent for p in out.glob("*/manifest.json")) if out.is_dir() else []
    with writing(path) as connection:
        known = {row[0] for row in connection.execute("select distinct content_hash from attempt").fetchall()}
    n_new, n_known, skipped = 0, 0, {}
    batch: list[_RunFiles] = []
    for folder in found:
        try:
            run = _RunFiles.read(folder)
        except StoreError as error:
            skipped[folder.name] = str(error)
            continue
        if run.content_hash in known:
            n_known += 1
            continue
        batch.append(run)
        if len(batch) == BATCH:
            _ingest_batch(path, batch)
            n_new, batch = n_new + len(batch), []
    if batch or not found:
        _ingest_batch(path, batch)
    return IngestReport(n_new + len(batch), n_known, skipped)


@dataclass(frozen=True)
class _RunFiles:
    """A run directory that has been read and found whole."""

    folder: Path
    manifest: dict[str, Any]
    content_hash: str

    @classmethod
    def read(cls, folder: Path) -> _RunFiles:
        manifest = read_manifest(folder)
        if manifest is None:
            raise StoreError("no manifest")
        for name, facts in manifest["files"].items():
            try:
                digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            except OSError as error:
                raise StoreError(f"{name}: can't be read ({error.strerror}); have the run done again") from None
            if digest != facts["sha256"]:
                raise StoreError(f"{name} is not what the manifest says; delete manifest.json to have it written again")
        content_hash = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:32]
        return cls(folder, manifest, content_hash)

    @property
    def run_id(self) -> str:
        return str(self.manifest["rows"]["run"]["run_id"])


def _ingest_batch(path: Path, batch: Sequence[_RunFiles]) -> None:
    if not batch:
        with writing(path):
            return
    with writing(path) as connection:
        rows = [run.manifest["rows"] for run in batch]
        for table in ("base_model", "tuning_method", "dataset", "environment"):
            merge(connection, table, KEYS[table], [r[table] for r in rows if table in r])
        merge(connection, "task", "task_id", [task for r in rows for task in r.get("tasks", ())])
        merge(connection, "sweep", "sweep_id", [_sweep_row(r) for r in rows])
        merge(connection, "run", "run_id", [_run_row(r) for r in rows])
        _replace_attempts(connection, batch)


def _sweep_row(rows: dict[str, Any]) -> dict[str, Any]:
    settings = json.loads(rows["sweep_json"])
    sweep_id = f"{settings['name']}@{hashlib.sha256(rows['sweep_json'].encode()).hexdigest()[:12]}"
    return {
        "sweep_id": sweep_id,
        "name": settings["name"],
        "settings": settings,
        "created_at": rows["attempts"][0]["started_at"],
    }


def _run_row(rows: dict[str, Any]) -> dict[str, Any]:
    sweep = _sweep_row(rows)
    return {**rows["run"], "sweep_id": sweep["sweep_id"], "created_at": sweep["created_at"]}


def _replace_attempts(connection: DuckDBPyConnection, batch: Sequence[_RunFiles]) -> None:
    """All that hangs on the runs' attempts, replaced whole."""
    import pyarrow as pa
    from pyarrow import parquet

    connection.register("arriving", pa.table({"run_id": [run.run_id for run in batch]}))
    for table in ("attempt", "evaluation", "loss_summary", *LONG_TABLES.values()):
        connection.execute(f"delete from {table} where run_id in (select run_id from arriving)")
    connection.unregister("arriving")
    attempts, evaluations = [], []
    long_rows: dict[str, list[pa.Table]] = {table: [] for table in LONG_TABLES.values()}
    for run in batch:
        finished = [a for a in run.manifest["rows"]["attempts"] if a["state"] != "started"]
        common = {"run_id": run.run_id, "directory": run.folder.name, "content_hash": run.content_hash}
        attempts += [{**attempt, **common} for attempt in finished]
        for name, table in LONG_TABLES.items():
            if name in run.manifest["files"]:
                rows = parquet.read_table(run.folder / name)
                long_rows[table].append(rows.append_column("run_id", pa.array([run.run_id] * len(rows), pa.string())))
        last = finished[-1]["attempt"] if finished else 0
        evaluations += [
            {"run_id": run.run_id, "attempt": last, **row} for row in run.manifest["rows"].get("evaluations", ())
        ]
    insert(connection, "attempt", arrow_table(connection, "attempt", attempts))
    insert(connection, "evaluation", arrow_table(connection, "evaluation", evaluations))
    for table, pieces in long_rows.items():
        if pieces:
            insert(connection, table, pa.concat_tables(pieces))
    connection.register("arriving", pa.table({"run_id": [run.run_id for run in batch]}))
    connection.execute(SUMMARISE)
    connection.unregister("arriving")
