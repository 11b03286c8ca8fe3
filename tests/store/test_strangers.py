"""A database that somebody else made: nothing that it holds runs with access to files, and no name becomes SQL."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from astraios import store
from astraios.errors import StoreError


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    path = tmp_path / "ours.duckdb"
    store.ingest(path, tmp_path / "none")
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text("secret")
    return path


def changed(path: Path, *statements: str) -> None:
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_view_in_place_of_the_migrations_reads_nothing(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / "stranger.duckdb"
    written = tmp_path / "stolen.csv"
    changed(
        path,
        f"create view schema_migration as select content as name, '' as hash from read_text('{secret}')",
        f"create macro m() as (select content from read_text('{secret}'))",
    )
    with pytest.raises(StoreError) as caught:
        store.open_db(path)
    assert "secret" not in str(caught.value).replace(secret.name, "")
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreError):
        store.ingest(path, tmp_path / "none")
    assert not written.exists()


@pytest.mark.parametrize(
    "change",
    [
        "alter table run add column \"x) select 1; copy (select 1) to 'FILE'; --\" varchar",
        "alter table tuning_method add column \"n, (select content from read_text('FILE')) as m\" varchar",
        'alter table loss_point rename column step to "step"" bigint); drop table run; --"',
        "drop view if exists final_loss; alter table curation alter column reason type integer using 1",
    ],
)
def test_a_changed_table_refuses_the_database(ours: Path, tmp_path: Path, change: str) -> None:
    with duckdb.connect(str(ours)) as connection:
        for name, _ in connection.execute("select view_name, 1 from duckdb_views() where not internal").fetchall():
            connection.execute(f'drop view if exists "{name}"')
        indexes = connection.execute("select index_name from duckdb_indexes()").fetchall()
        for (name,) in indexes:
            connection.execute(f'drop index "{name}"')
        for statement in change.replace("FILE", str(tmp_path / "made.csv")).split("; alter"):
            connection.execute(statement if statement.startswith(("alter", "drop")) else "alter" + statement)
    for attempt in (lambda: store.open_db(ours), lambda: store.ingest(ours, tmp_path / "none")):
        with pytest.raises(StoreError, match="was changed"):
            attempt()
    assert not (tmp_path / "made.csv").exists()


def test_writers_touch_no_other_file(ours: Path, secret: Path, tmp_path: Path) -> None:
    for statement in (
        f"insert into curation select content, 'tag', 'x', null, null, now() from read_text('{secret}')",
        f"copy (select 1) to '{tmp_path}/made.csv'",
        f"attach '{tmp_path}/other.duckdb' as other",
        "set enable_external_access = true",
        "install httpfs",
    ):
        with pytest.raises(StoreError):
            store.change(ours, statement)
    assert not (tmp_path / "made.csv").exists()
    assert not (tmp_path / "other.duckdb").exists()


def test_own_tables_and_views_are_left_alone_and_never_run(ours: Path, secret: Path, tmp_path: Path) -> None:
    changed(
        ours,
        'create table "my; drop table run" (a integer)',
        "create schema theirs",
        "create table theirs.run (x integer)",
        f"create view mine as select content from read_text('{secret}')",
        f"create view \"select\" as select error(content) as e from read_text('{secret}')",
    )
    commands: list[Callable[[], object]] = [
        lambda: store.open_db(ours).close(),
        lambda: store.ingest(ours, tmp_path / "none"),
        lambda: store.failed_checks(ours),
        lambda: store.export(ours, tmp_path / "exported"),
        lambda: store.rebuild(ours, tmp_path / "none"),
    ]
    for command in commands[:-1]:
        command()
    with duckdb.connect(str(ours), read_only=True) as connection:
        names = {name for (name,) in connection.execute("select view_name from duckdb_views()").fetchall()}
    assert {"mine", "select"} <= names
    assert store.own_objects(ours) == ["mine", "my; drop table run", "theirs.run", "select"]
    commands[-1]()


def test_a_database_that_nobody_else_may_read_stays_so(ours: Path, tmp_path: Path) -> None:
    ours.chmod(0o600)
    before = os.umask(0o022)
    try:
        store.change(ours, "insert into tuning_method (method_id, title, kind) values ('x', 'X', 'other')")
    finally:
        os.umask(before)
    assert ours.stat().st_mode & 0o777 == 0o600
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("ours.duckdb.b*"))


def test_a_lock_is_not_taken_through_a_link(ours: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("kept")
    ours.with_name(ours.name + ".lock").unlink(missing_ok=True)
    ours.with_name(ours.name + ".lock").symlink_to(target)
    with pytest.raises(StoreError, match="link"):
        store.change(ours, "delete from curation")
    assert target.read_text() == "kept"


def test_a_full_disk_is_called_one(ours: Path) -> None:
    from astraios.store.messages import one_line

    for text in ("IO Error: Could not write all bytes to file: wanted=4096 wrote=0", "No space left on device"):
        with pytest.raises(StoreError, match="disk is full"), one_line(ours):
            raise duckdb.IOException(text)
