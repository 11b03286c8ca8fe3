"""The verb `import`: what it does with a source that it can't take. The formats are in tests/importers."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import assert_one_line, run_cli


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    result = run_cli("import", "paper", "--db", db, "--dry-run", "--json")
    told = json.loads(result.stdout)
    assert (told["format"], told["guessed"], told["rows"]["run"]) == ("paper", True, 28)
    assert not db.exists()


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    assert_one_line(run_cli("import", "nothing-there", "--db", db), 2, "no file, folder or built-in study")
    (tmp_path / "x.bin").write_bytes(b"\0\1\2")
    assert_one_line(run_cli("import", tmp_path / "x.bin", "--db", db), 2, "format not recognised")
    assert_one_line(run_cli("import", "paper", "--format", "papr", "--db", db), 2, "unknown import format 'papr'")
    assert_one_line(run_cli("import", "paper", "--map", "loss", "--db", db), 2, "COLUMN=NAME")
    assert_one_line(run_cli("import", tmp_path, "--db", db), 2, "format not recognised")
    assert not db.exists()
