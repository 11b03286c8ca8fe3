"""Tables: what was exported comes back the same, whatever the strings and numbers; what makes no sense is refused."""

from __future__ import annotations

import json
import math
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astraios import store
from astraios.errors import AstraiosError
from astraios.importers import Imported, Wanted, choose
from tests.conftest import assert_one_line, run_cli
from tests.importers.conftest import content


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    frame.write_csv(path)


def write_pandas_jsonl(frame: pl.DataFrame, path: Path) -> None:
    """As pandas writes JSON lines, but for numbers that JSON has not, which pandas would turn to null."""
    path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dicts()))


WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    "csv": write_csv,
    "tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    "parquet": lambda frame, path: frame.write_parquet(path),
    "jsonl": write_pandas_jsonl,
    "json": lambda frame, path: path.write_text(json.dumps(frame.to_dicts())),
}
formats = pytest.mark.parametrize("ending", list(WRITERS))

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), min_size=1, max_size=12).filter(
    # Texts that look like paths or keys are cut on purpose: tests/importers/test_private.py.
    lambda text: not set("/\\~") & set(text) and text.strip() == text
)
floats = st.floats(width=64) | st.sampled_from(
    [math.nan, math.inf, -math.inf, 0.1 + 0.2, 5e-324, 1.7976931348623157e308]
)
points = st.lists(st.tuples(st.integers(0, 2**31 - 1) | st.integers(0, 3), floats | st.none()), max_size=6)
runs = st.dictionaries(
    names, st.tuples(st.integers(1, 2**60), st.integers(-(2**62), 2**62), points), min_size=1, max_size=5
)
relaxed = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, **columns: str) -> Imported:
    importer = choose(str(path), None)
    assert importer.name == "table"
    return importer.read(str(path), Wanted(columns))


def losses(imported: Imported) -> dict[str, list[tuple[int, float]]]:
    """Points by the run's own name."""
    name = {row["run_id"]: json.loads(row["settings"])["run"] for row in imported.frames["run"].to_dicts()}
    found: dict[str, list[tuple[int, float]]] = {one: [] for one in name.values()}
    if "loss_point" in imported.frames:
        for row in imported.frames["loss_point"].sort("run_id", "step").to_dicts():
            found[name[row["run_id"]]].append((row["step"], row["loss_nats"]))
    return found


@pytest.mark.promise("what is exported comes back")
@formats
@relaxed
@given(runs=runs)
def test_a_row_a_step_comes_back(ending: str, runs: dict[str, Any], tmp_path: Path) -> None:
    """Any names, NaN, infinities, runs without a loss; of a step logged twice the latest counts, and it is said."""
    rows = [
        {"run": name, "n_params": n, "seed": seed, "step": step, "loss": loss}
        for name, (n, seed, logged) in runs.items()
        for step, loss in logged or [(0, None)]
    ]
    schema = {"run": pl.String, "n_params": pl.Int64, "seed": pl.Int64, "step": pl.Int64, "loss": pl.Float64}
    path = tmp_path / f"t.{ending}"
    WRITERS[ending](pl.DataFrame(rows, schema=schema), path)
    imported = read(path)
    expected = {
        name: sorted({step: loss for step, loss in logged if loss is not None}.items())
        for name, (_, _, logged) in runs.items()
    }
    assert repr(losses(imported)) == repr({name: expected[name] for name in losses(imported)})
    assert set(losses(imported)) == set(expected)
    told = {
        json.loads(row["settings"])["run"]: (row["n_params"], row["seed"]) for row in imported.frames["run"].to_dicts()
    }
    assert told == {name: (n, seed) for name, (n, seed, _) in runs.items()}
    again = sum(
        len(steps) - len(set(steps))
        for _, _, logged in runs.values()
        for steps in [[step for step, loss in logged if loss is not None]]
    )
    said = [why for what, why in imported.skipped.items() if what.endswith("steps logged again")]
    assert bool(said) == bool(again)


@pytest.mark.promise("what is exported comes back")
@formats
@relaxed
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"model": names, "n_params": st.integers(1, 10**12), "loss": floats, "note": names | st.none()}
        ),
        min_size=1, max_size=8, unique_by=lambda row: (row["model"], row["n_params"], row["note"]),
    )
)  # fmt: skip
def test_a_row_a_run_comes_back(ending: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / f"t.{ending}"
    schema = {"model": pl.String, "n_params": pl.Int64, "loss": pl.Float64, "note": pl.String}
    WRITERS[ending](pl.DataFrame(rows, schema=schema), path)
    frames = read(path).frames
    joined = frames["run"].join(frames["loss_point"], on="run_id")
    found = [
        (row["model_id"], row["n_params"], row["loss_nats"], json.loads(row["settings"])["columns"]["note"])
        for row in joined.to_dicts()
    ]
    expected = [(row["model"], row["n_params"], row["loss"], row["note"]) for row in rows]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


@pytest.mark.promise("what is exported comes back")
@formats
@relaxed
@given(
    scores=st.dictionaries(
        st.tuples(names, names, names), st.tuples(floats, st.integers(0, 10**6)), min_size=1, max_size=8
    )
)
def test_a_row_a_score_comes_back(ending: str, scores: dict[Any, Any], tmp_path: Path) -> None:
    rows = [
        {"run": run, "n_params": 1000, "task": task, "metric": metric, "value": value, "n": n}
        for (run, task, metric), (value, n) in scores.items()
    ]
    path = tmp_path / f"t.{ending}"
    WRITERS[ending](pl.DataFrame(rows, schema_overrides={"value": pl.Float64}), path)
    frames = read(path).frames
    name = {row["run_id"]: json.loads(row["settings"])["run"] for row in frames["run"].to_dicts()}
    found = [
        ((name[row["run_id"]], row["task_id"], row["metric"]), (row["value"], row["n"]))
        for row in frames["score"].to_dicts()
    ]
    assert sorted(map(repr, found)) == sorted(map(repr, scores.items()))


@pytest.mark.promise("what is exported comes back")
@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_losses_exported_by_sql_come_back(ending: str, tmp_path: Path) -> None:
    """Out of one database by its own SQL, into another: the views show the same."""
    rows = [
        {"run": name, "model": "tiny/32", "method": method, "n_params": 59_000, "seed": seed, "step": step, "loss": at}
        for name, method, seed in (('ä, "b"', "lora", 1), ("c\nd", "fft", 2))
        for step, at in ((0, 4.0), (10, math.nan), (20, math.inf), (30, 0.1 + 0.2))
    ]  # fmt: skip
    first, second = tmp_path / "a.duckdb", tmp_path / "b.duckdb"
    write_pandas_jsonl(pl.DataFrame(rows), tmp_path / "in.jsonl")
    assert run_cli("import", tmp_path / "in.jsonl", "--db", first).returncode == 0
    sql = "select model_id, method_id, n_params, seed, split, step, loss_nats from loss_curve order by all"
    exported = store.query(first, sql)
    assert len(exported) == 8
    WRITERS[ending](exported, tmp_path / f"out.{ending}")
    assert run_cli("import", tmp_path / f"out.{ending}", "--db", second).returncode == 0
    assert repr(store.query(second, sql).rows()) == repr(exported.rows())
    summary = (
        "select method_id, split, last_step, last_loss, n_points from loss_summary join run using (run_id) order by all"
    )
    assert repr(store.query(second, summary).rows()) == repr(store.query(first, summary).rows())


@formats
def test_importing_twice_changes_nothing(ending: str, tmp_path: Path) -> None:
    rows = [{"run": "a", "n_params": "1.5B", "step": s, "eval/loss": 4.0 - s, "eval/acc": s / 4} for s in range(3)]
    path, db = tmp_path / f"t.{ending}", tmp_path / "a.duckdb"
    WRITERS[ending](pl.DataFrame(rows), path)
    command = ("import", path, "--db", db, "--map", "loss=eval/loss", "--map", "score:probe:acc=eval/acc")
    assert run_cli(*command).returncode == 0
    before = content(db)
    assert (len(before["loss_point"]), len(before["score"])) == (3, 1)
    assert store.query(db, "select n_params from run").item() == 1_500_000_000
    assert run_cli(*command).returncode == 0
    assert content(db) == before
    assert store.failed_checks(db) == {}


@formats
def test_a_row_a_value_of_a_metric(ending: str, tmp_path: Path) -> None:
    rows = [
        {"run": run, "n_params": 1000, "step": step, "metric": metric, "value": value + step}
        for run in ("a", "b")
        for step in (0, 10)
        for metric, value in (("eval/loss", 4.0), ("train/loss", 5.0), ("lr", 0.1), ("acc", 0.5))
    ]
    path, db = tmp_path / f"t.{ending}", tmp_path / "a.duckdb"
    WRITERS[ending](pl.DataFrame(rows), path)
    command = ("import", path, "--db", db, "--map", "score:probe:accuracy=acc")
    assert run_cli(*command).returncode == 0
    sql = "select split, step, loss_nats, count(*) from loss_curve group by all order by all"
    assert store.query(db, sql).rows() == [
        ("batch", 0, 5.0, 2), ("batch", 10, 15.0, 2), ("test", 0, 4.0, 2), ("test", 10, 14.0, 2),
    ]  # fmt: skip
    assert store.query(db, "select distinct task_id, value from final_score").rows() == [("probe", 0.105)], "per cent"
    assert "lr" in run_cli(*command, "--dry-run").stderr


def test_what_pandas_writes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"run": ["a", "a"], "n_params": [1e6, 1e6], "step": [0, 1], "loss": [4.0, 3.5]})
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "b.json", orient="records")
    frame.to_csv(tmp_path / "c.csv", index=False)
    frame.to_parquet(tmp_path / "d.parquet")
    found = [losses(read(tmp_path / name)) for name in ("a.jsonl", "b.json", "c.csv", "d.parquet")]
    assert found == [{"a": [(0, 4.0), (1, 3.5)]}] * 4


@pytest.mark.promise("an import is whole or refused, and twice is once")
@pytest.mark.parametrize(
    ("name", "text", "code", "pattern"),
    [
        ("a.csv", "n_params,loss\n1e6,4\n1e6,high\n", 1, r"a\.csv: line 3: loss should be a number, not 'high'"),
        ("a.csv", "n_params,loss\n1e6,4\n1e6\n", 1, r"a\.csv: line 3: Expected 2 columns, got 1"),
        ("a.csv", "n_params,loss\n1e6,4\n1.5,3\n", 1, r"a\.csv: line 3: n_params should be a whole number, not '1.5'"),
        ("a.csv", "n_params,loss,loss\n1e6,4,4\n", 1, r"a\.csv: line 1: two columns are called 'loss'"),
        ("a.csv", "n_params,step,loss\n1e6,-1,4\n", 1, r"a\.csv: line 2: step -1"),
        ("a.csv", "n_params,step,loss\n1e6,,4\n", 1, r"a\.csv: line 2: step None is missing"),
        ("a.csv", "", 1, r"a\.csv: line 1: an empty file"),
        ("a.csv", "x,y\n1,2\n", 2, r"no column for a loss or a score: --map loss=NAME.*columns: x, y"),
        ("a.csv", "step,loss\n1,2\n", 2, r"a does not say how many parameters"),
        ("a.csv", "lr,loss\nx,2\n", 2, r"no column says which run"),
        ("a.csv", "run,loss\na,2\n", 2, r"a does not say how many parameters"),
        ("a.csv", "run,n_params,loss\na,1e6,2\na,1e6,3\n", 2, r"line 3: run 'a' has several rows.*--map step=NAME"),
        ("a.csv", "run,n_params,step,loss\na,1e6,1,2\na,2e6,2,3\n", 1, r"line 3: n_params is 2000000 and was 1000000"),
        ("a.jsonl", '{"n_params": 1, "loss": 1}\n{"n_params": 1, "lo', 1, r"a\.jsonl: line 2: not JSON"),
        ("a.jsonl", '{"n_params": 1, "loss": 1}\n\n[1]\n', 1, r"a\.jsonl: line 3: an object was expected, not a list"),
        ("a.jsonl", '{"n_params": 1, "loss": 1}\n{"n_params": 1, "loss": "x"}\n', 1, r"line 2: loss should be"),
        ("a.parquet", "PAR1 and then nothing", 1, r"a\.parquet: not a whole Parquet file"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(name: str, text: str, code: int, pattern: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    db = tmp_path / "a.duckdb"
    assert_one_line(run_cli("import", tmp_path / name, "--db", db), code, pattern)
    assert not db.exists()


def test_a_parquet_file_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"n_params": list(range(1, 1000)), "loss": [1.0] * 999}).write_parquet(path)
    whole = path.read_bytes()
    for share in (0.3, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        assert_one_line(run_cli("import", path, "--db", tmp_path / "a.duckdb"), 1, "not a whole Parquet file")


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("size,l\n1M,4\n")
    db = tmp_path / "a.duckdb"
    command = ("import", tmp_path / "a.csv", "--db", db)
    assert_one_line(run_cli(*command, "--map", "loss=k"), 2, "has no column 'k'; it has: size, l")
    assert_one_line(run_cli(*command, "--map", "lss=l"), 2, "--map lss=...: known: run_id, ")
    result = run_cli(*command, "--map", "loss=l", "--json")
    assert json.loads(result.stdout)["rows"]["run"] == 1


def test_equal_rows_are_one_run_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("size,lr,loss\n1M,0.1,4\n1M,0.1,3\n1M,0.2,2\n")
    imported = read(tmp_path / "a.csv")
    assert imported.frames["loss_point"]["loss_nats"].to_list() == [3.0, 2.0]
    assert imported.skipped["row 1, the same run again"] == "1 rows; the latest counts"


@relaxed
@given(
    garbage=st.binary(max_size=200) | st.text(string.printable, max_size=200).map(str.encode),
    ending=st.sampled_from(list(WRITERS)),
)
def test_garbage_is_never_a_traceback(garbage: bytes, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"g.{ending}"
    path.write_bytes(garbage)
    try:
        choose("x", "table").read(str(path), Wanted())
        line = ""
    except AstraiosError as error:
        line = str(error)
    assert "\n" not in line
