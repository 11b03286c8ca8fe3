"""Run directories into the database: each whole or not at all, and the same one twice changes nothing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import StoreError
from astraios.records import SweepRow
from astraios.runs.rows import RunRows
from astraios.store.connect import reading, writing
from astraios.store.lake import is_lake, there
from astraios.store.rows import (
    LOAD_KEY,
    LONG_TABLES,
    RUN_TABLES,
    SUMMARISE,
    arrow_table,
    columns_of,
    insert,
    merge,
    next_load_key,
    quoted,
)
from astraios.store.source import Found, Growing, RunFiles, Source

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Batch = tuple[list[RunFiles], dict[str, str]]
"""Runs that were read, and reasons by directory for those that could not be."""
BATCH = 2000
"""Run directories in memory at once, at most."""
BATCH_ROWS = 1_000_000
"""Rows in memory at once, give or take a run; as many again are being read. Larger inserts pack better."""


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did."""

    n_new: int
    n_known: int
    """Run directories whose content the database held already."""
    skipped: Mapping[str, str]
    """Reasons by name of the run directory."""
    n_live: int = 0
    """Logged runs without an end of which there is more than the database held."""


def ingest(path: Path, out: str | Path, *, overrule: bool = False) -> IngestReport:
    """Takes the run directories under `out` into the database; what it holds already is left alone.

    A logged run without an end is taken in as far as it has come, and again when there is more of it.

    All that is new is there when this returns, and readers see either none of it or all.

    Args:
        path: the database; made where there is none.
        out: a folder, or a URL that fsspec knows.
        overrule: take a directory's state of a run even where the database holds a later one (a clock was ahead).

    Raises:
        StoreError: the database can't be written or stays locked.
    """
    source = Source(out)
    found, skipped = source.manifests()
    if is_lake(path):
        # What it holds is asked for under its lock: to connect once more costs more than reading beside the wait saves.
        with writing(path) as connection:
            known = known_hashes(connection)
            with reading_ahead(source, _not_in(known, found)) as batches:
                n_new, refused = add_runs(connection, batches, overrule=overrule)
        return _report(n_new, found, known, {**skipped, **refused})
    known = set()
    if there(path):
        with reading(path) as connection:
            known = known_hashes(connection)
        if not _not_in(known, found):
            return IngestReport(0, len(found), skipped)
    # Reading goes on while the lock is waited for and the database is copied.
    with reading_ahead(source, _not_in(known, found)) as batches, writing(path) as connection:
        known = known_hashes(connection)
        n_new, refused = add_runs(connection, batches, known, overrule=overrule)
    return _report(n_new, found, known, {**skipped, **refused})


def _not_in(known: Container[str], found: Sequence[Found]) -> list[Found]:
    return [one for one in found if one.content_hash not in known]


def _report(n_taken: int, found: Sequence[Found], known: Container[str], skipped: Mapping[str, str]) -> IngestReport:
    fresh = _not_in(known, found)
    n_live = sum(isinstance(one, Growing) and one.name not in skipped for one in fresh)
    return IngestReport(n_taken - n_live, len(found) - len(fresh), skipped, n_live)


def watch(path: Path, out: str | Path, every: float, tell: Callable[[IngestReport], None]) -> None:
    """Ingests what is new, again and again, until it is interrupted.

    A write costs a copy of the database, so the pauses grow with what the last ingest took.

    Args:
        path: the database.
        out: as for `ingest`.
        every: seconds between two looks, at least.
        tell: told of the first ingest, and of each that changed or refused something else.
    """
    last: tuple[int, dict[str, str]] | None = None
    while True:
        start = time.monotonic()
        report = ingest(path, out)
        if last is None or report.n_new or dict(report.skipped) != last[1]:
            tell(report)
        last = (report.n_known, dict(report.skipped))
        time.sleep(max(every, 4 * (time.monotonic() - start)) if report.n_new or report.n_live else every)


def known_hashes(connection: DuckDBPyConnection) -> set[str]:
    """Hashes of the manifests whose runs the database holds."""
    rows = connection.execute("select distinct content_hash from attempt where content_hash is not null").fetchall()
    return {row[0] for row in rows}


def add_runs(
    connection: DuckDBPyConnection, batches: Iterable[Batch], known: Container[str] = (), *, overrule: bool = False
) -> tuple[int, dict[str, str]]:
    """Puts run directories into an open database, a batch at a time, all in its transaction.

    Args:
        connection: in a transaction.
        batches: from `reading_ahead`.
        known: hashes of manifests that are to be passed over.
        overrule: whether they stand in place of later states that the database holds.

    Returns:
        How many runs are new or were replaced, and reasons by directory for those that were refused.
    """
    n_new = 0
    refused: dict[str, str] = {}
    for runs, bad in batches:
        refused |= bad
        latest, older = _latest(connection, [run for run in runs if run.content_hash not in known], overrule)
        refused |= older
        if latest:
            _add_batch(connection, latest)
        n_new += len(latest)
    return n_new, refused


@contextmanager
def reading_ahead(source: Source, found: Sequence[Found]) -> Iterator[Iterator[Batch]]:
    """Batches, read one ahead of who works on them; the first is begun at once."""
    batches = _batches(found)
    with ThreadPoolExecutor(1) as reader:

        def submit(batch: list[Found]) -> Future[Batch]:
            return reader.submit(_read_all, source, batch)

        def each(following: Future[Batch]) -> Iterator[Batch]:
            for batch in batches[1:]:
                current, following = following.result(), submit(batch)
                yield current
            yield following.result()

        yield each(submit(batches[0])) if batches else iter(())


def _batches(found: Sequence[Found]) -> list[list[Found]]:
    batches: list[list[Found]] = []
    rows = BATCH_ROWS
    for one in found:
        if rows >= BATCH_ROWS or len(batches[-1]) >= BATCH:
            batches.append([])
            rows = 0
        batches[-1].append(one)
        rows += one.n_rows
    return batches


def _read_all(source: Source, found: Sequence[Found]) -> Batch:
    def fetch(one: Found) -> dict[str, bytes] | StoreError:
        try:
            return RunFiles.fetch(source, one)
        except StoreError as error:
            return error

    runs: list[RunFiles] = []
    refused: dict[str, str] = {}
    for one, contents in zip(found, source.each(fetch, found), strict=True):
        try:
            if isinstance(contents, StoreError):
                raise contents
            runs.append(RunFiles.understand(one, contents))
        except StoreError as error:
            refused[one.name] = str(error)
    return runs, refused


def _latest(
    connection: DuckDBPyConnection, runs: Sequence[RunFiles], overrule: bool
) -> tuple[list[RunFiles], dict[str, str]]:
    """Of several states of one run the latest: a copy of a directory must not bring an older one back."""
    best: dict[str, RunFiles] = {}
    for run in sorted(runs, key=lambda run: run.age):
        best[run.run_id] = run
    held = _held(connection, list(best))
    kept, refused = [], {}
    for run in runs:
        other = best[run.run_id]
        if other is not run:
            refused[run.name] = f"run {run.run_id} is in {other.name} too, which is later"
        elif held.get(run.run_id, "") > run.age[0] and not overrule:
            refused[run.name] = (
                f"the database holds a later state of run {run.run_id} ({held[run.run_id][:19]}): where a clock was "
                "ahead, --overrule takes this one"
            )
        else:
            kept.append(run)
    return kept, refused


def _held(connection: DuckDBPyConnection, run_ids: Sequence[str]) -> dict[str, str]:
    import pyarrow as pa

    connection.register("arriving", pa.table({"run_id": pa.array(run_ids, pa.string())}))
    rows = connection.execute(
        "select run_id, strftime(max(coalesce(finished_at, started_at)), '%Y-%m-%dT%H:%M:%S.%f') from attempt "
        "where run_id in (select run_id from arriving) and content_hash is not null group by run_id"
    ).fetchall()
    connection.unregister("arriving")
    return {run_id: at for run_id, at in rows if at is not None}


def _add_batch(connection: DuckDBPyConnection, batch: Sequence[RunFiles]) -> None:
    rows = [run.rows for run in batch]
    described: dict[str, list[Any]] = {
        "base_model": [r.base_model for r in rows],
        "tuning_method": [r.tuning_method for r in rows],
        "dataset": [r.dataset for r in rows if r.dataset],
        "environment": [r.environment for r in rows if r.environment],
        "task": [task for r in rows for task in r.tasks or ()],
        "sweep": [_sweep_row(r) for r in rows if r.sweep_json],
    }
    for table, records in described.items():
        merge(connection, table, arrow_table(records))
    sweeps = [_sweep(r.sweep_json)[0] if r.sweep_json else None for r in rows]
    started = [r.attempts[0].started_at for r in rows]
    runs = arrow_table([r.run for r in rows], sweep_id=sweeps, created_at=started)
    merge(connection, "run", runs, arriving_counts=True)
    _replace_attempts(connection, batch)


def _sweep_row(rows: RunRows) -> SweepRow:
    sweep_id, name, settings = _sweep(rows.sweep_json)
    return SweepRow(sweep_id=sweep_id, name=name, settings=settings, created_at=rows.attempts[0].started_at)


@cache
def _sweep(text: str) -> tuple[str, str, str]:
    settings = json.loads(text)
    sweep_id = f"{settings['name']}@{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return sweep_id, settings["name"], json.dumps(settings, sort_keys=True)


def _replace_attempts(connection: DuckDBPyConnection, batch: Sequence[RunFiles]) -> None:
    """All that hangs on the runs' attempts, replaced whole."""
    import pyarrow as pa

    connection.register("arriving", pa.table({"run_id": [run.run_id for run in batch]}))
    for table in RUN_TABLES:
        connection.execute(f"delete from {table} where run_id in (select run_id from arriving)")
    finished = [(run, row) for run in batch for row in run.rows.attempts if row.state != "started"]
    last = {run.run_id: row.attempt for run, row in finished}
    first = next_load_key(connection)
    attempts = arrow_table(
        [row for _, row in finished],
        run_id=[run.run_id for run, _ in finished],
        directory=[run.name for run, _ in finished],
        content_hash=[run.content_hash for run, _ in finished],
        load_key=[first + i for i in range(len(finished))],
    )
    evaluated = [(run, row) for run in batch for row in run.rows.evaluations or ()]
    evaluations = arrow_table(
        [row for _, row in evaluated],
        run_id=[run.run_id for run, _ in evaluated],
        attempt=[last.get(run.run_id, 0) for run, _ in evaluated],
    )
    insert(connection, "attempt", attempts)
    insert(connection, "evaluation", evaluations)
    numbers = {(run.run_id, row.attempt): first + i for i, (run, row) in enumerate(finished)}
    owners = {LOAD_KEY: list(numbers.values()), "run_id": [run_id for run_id, _ in numbers]}
    connection.register("numbered", pa.table(owners))
    for name, table in LONG_TABLES.items():
        pieces = [(run, run.tables[name]) for run in batch if name in run.tables]
        if pieces:
            _insert_long(connection, table, _numbered(pieces, numbers))
    connection.unregister("numbered")
    connection.execute(SUMMARISE)
    connection.unregister("arriving")


def _numbered(pieces: Sequence[tuple[RunFiles, pa.Table]], keys: Mapping[tuple[str, int], int]) -> pa.Table:
    """Rows of files one after the other, with the number of their attempt; -1 where the manifest has no such try.

    Args:
        pieces: the rows of each run.
        keys: number by run and attempt.
    """
    import numpy as np
    import pyarrow as pa

    # A directory of an older astraios lacks columns that came later.
    rows = pa.concat_tables([table for _, table in pieces], promote_options="default")
    position = {run.run_id: i for i, (run, _) in enumerate(pieces)}
    numbers = {(position.get(run_id), attempt): number for (run_id, attempt), number in keys.items()}
    piece = np.repeat(np.arange(len(pieces)), [len(table) for _, table in pieces])
    attempt = rows["attempt"].to_numpy()
    # Rows of one try lie together: looked up once for each stretch of them.
    starts = np.flatnonzero(np.r_[True, (piece[1:] != piece[:-1]) | (attempt[1:] != attempt[:-1])])
    stretches = zip(piece[starts].tolist(), attempt[starts].tolist(), strict=True)
    number = np.array([numbers.get(stretch, -1) for stretch in stretches], np.int64)
    return rows.append_column("number", pa.array(np.repeat(number, np.diff(starts, append=len(rows)))))


def _insert_long(connection: DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Rows with the number of their attempt, which brings the run: a text less a row to hand over."""
    given = {name: f"p.{quoted(name)}" for name in rows.column_names} | {
        "run_id": "k.run_id",
        LOAD_KEY: f"k.{LOAD_KEY}",
    }
    names = [name for name in columns_of(connection, table) if name in given]
    connection.register("incoming", rows)
    connection.execute(
        f"insert into {table} ({', '.join(map(quoted, names))}) select {', '.join(given[name] for name in names)} "
        f"from incoming p join numbered k on k.{LOAD_KEY} = p.number"
    )
    connection.unregister("incoming")
