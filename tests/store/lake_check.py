"""What the tests of a lake look at, run by the interpreter that has the extra: `python -m tests.store.lake_check ...`.

`same DIR DB` fills a lake and compares it with a file; `kills DIR DB` judges what killed processes have left. Each
prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from astraios import store
from astraios.errors import AstraiosError
from astraios.runs.directory import read_manifest
from tests.store.made import make_run


def same(folder: Path, db: Path) -> dict[str, Any]:
    """Ingest, curation, export and SQL on a lake, beside the same on a file."""
    runs, file = folder / "runs", folder / "file.duckdb"
    for i in range(3):
        make_run(runs, f"run{i}")
    first, second = store.ingest(db, runs), store.ingest(db, runs)
    store.ingest(file, runs)
    seen: dict[str, Any] = {
        "ingested": [first.n_new, second.n_new, second.n_known],
        "differences": store.differences(db, file),
        "checks": store.failed_checks(db),
        "directories": store.check_directories(db, runs),
        "views": {},
        "refused": [],
    }
    for name in store.sql_files("views"):
        mine, theirs = (store.query(one, f"from {name} order by all") for one in (db, file))
        seen["views"][name] = mine.columns == theirs.columns and mine.rows() == theirs.rows()
    seen["macro"] = store.query(db, "select law_power(100.0, 1, 0.5) as x").item()
    for sql in (
        "delete from run",
        f"copy (select 1) to '{folder}/x.csv'",
        f"copy (select 1) to '{folder}/data/x.csv'",
        f"from read_text('{__file__}')",
        "attach 'dbname=postgres' as other (type postgres)",
        "call ducklake_expire_snapshots('astraios'); drop table run",
    ):
        try:
            store.query(db, sql)
        except AstraiosError:
            seen["refused"].append(sql)
    store.curate(db, ["run1"], "exclude", reason="x")
    seen["counted"] = sorted(store.query(db, "select run_id from final_loss")["run_id"])
    store.export(db, folder / "export", "parquet")
    seen["exported"] = store.query(file, "select count(*) from loss_point").item()
    return seen


def kills(folder: Path, db: Path) -> dict[str, Any]:
    """Every finished directory once and whole, checks clean, a file made anew from the directories equal."""
    runs = folder / "runs"
    store.ingest(db, runs)
    finished = {path.name for path in runs.iterdir() if read_manifest(path) is not None}
    counts = store.query(
        db, "select run_id, count(*) as n, count(distinct step) as steps from loss_point group by run_id"
    )
    anew = folder / "anew.duckdb"
    store.rebuild(anew, runs)
    return {
        "finished": len(finished),
        "all_there": set(counts["run_id"]) == finished,
        "points": sorted(set(counts["n"])),
        "steps": sorted(set(counts["steps"])),
        "checks": store.failed_checks(db),
        "directories": store.check_directories(db, runs),
        "differences": store.differences(anew, db),
    }


if __name__ == "__main__":
    found = {"same": same, "kills": kills}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.write(json.dumps(found) + "\n")
