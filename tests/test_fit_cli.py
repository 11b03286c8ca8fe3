"""fit-scaling, design and their options on a database and on files, right and wrong."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import astraios
from astraios import store
from astraios.errors import UsageError
from astraios.fit.request import FitRequest
from astraios.fit.sizes import hidden_size, next_rung, parse_size, target_sizes
from astraios.workflow import selecting
from astraios.workflow.sizes import ladder_names, rung_names, runnable_sizes
from tests.conftest import assert_one_line, run_cli

SIZES = (70_000, 150_000, 300_000, 600_000, 1_200_000)
METHODS = {"fft": 3.0, "lora": 3.1, "ia3": 3.4}


def loss_of(method: str, n_params: int) -> float:
    return METHODS[method] + 60.0 * n_params**-0.35


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up study of three methods at five sizes, with costs."""
    path = tmp_path_factory.mktemp("fit") / "a.duckdb"
    runs = [(f"{method}{n}", method, n) for method in METHODS for n in SIZES]
    frames = {
        "base_model": [{"model_id": f"made/{n}", "ladder": "made", "n_params": n} for n in SIZES],
        "tuning_method": [{"method_id": m, "title": m, "kind": "other"} for m in METHODS],
        "run": [
            {"run_id": r, "origin": "imported", "model_id": f"made/{n}", "method_id": m, "seed": 0, "n_params": n}
            for r, m, n in runs
        ],
        "attempt": [{"run_id": r, "attempt": 1, "state": "done", "device_seconds": n / 1000.0} for r, _, n in runs],
        "loss_point": [
            {"run_id": r, "attempt": 1, "split": "test", "step": s, "loss_nats": loss_of(m, n) + 1.0 - s / 10}
            for r, m, n in runs
            for s in (0, 10)
        ],
    }
    store.import_frames(path, {name: pl.DataFrame(rows) for name, rows in frames.items()})
    return path


def test_the_backtest_stands_beside_the_projection(db: Path) -> None:
    result = run_cli("fit-scaling", "--db", db, "--target", "4M", "--json")
    content = json.loads(result.stdout)
    assert {fit["group"] for fit in content["fits"]} == set(METHODS)
    for fit in content["fits"]:
        by_role = {p["role"]: p for p in fit["projections"]}
        assert by_role["target"]["n_params"] == 4e6
        back = by_role["backtest"]
        assert back["n_params"] == SIZES[-1]
        assert back["observed"] == pytest.approx(loss_of(fit["group"], SIZES[-1]))
        assert back["relative_error"] < back["carry_forward_error"]
    assert [row["method_id"] for row in content["ranking"]] == ["fft", "lora", "ia3"]
    for table in ("fit", "fit_parameter", "fit_point", "fit_draw", "projection", "backtest"):
        assert len(store.query(db, f"from {table}")), table
    assert store.failed_checks(db) == {}
    n_fits = len(store.query(db, "from fit"))
    assert run_cli("fit-scaling", "--db", db, "--target", "4M", "--json").stdout == result.stdout
    assert len(store.query(db, "from fit")) == n_fits, "the same fit is stored once"


def test_a_stored_fit_is_used_again_without_data(db: Path) -> None:
    content = json.loads(run_cli("fit-scaling", "--db", db, "--target", "8M", "--json").stdout)
    fit = content["fits"][0]
    [target] = [p for p in fit["projections"] if p["role"] == "target"]
    rows = json.loads(run_cli("fit-scaling", "--db", db, "--reuse", fit["fit_id"], "--target", "8M", "--json").stdout)
    assert rows[0]["mean"] == pytest.approx(target["mean"], rel=1e-6)
    assert astraios.load_fit(fit["fit_id"], db).predict([8e6])["mean"][0] == pytest.approx(target["mean"], rel=1e-6)
    assert_one_line(run_cli("fit-scaling", "--db", db, "--reuse", "nothing", "--target", "8M"), 2, "no fit 'nothing'")


def test_every_size_is_backtested(db: Path) -> None:
    targets = store.query(db, "from projection where role = 'target'")
    rows = json.loads(run_cli("fit-scaling", "--db", db, "--backtest", "--json").stdout)
    assert len(store.query(db, "from projection where role = 'target'")) == len(targets), "by what saw some sizes only"
    losses = [row for row in rows if row["quantity"] == "loss"]
    assert {row["n_params"] for row in losses} == set(SIZES[2:])
    assert {"auto", "power_offset", "power", "bounded", "broken_power", "shifted_power", "relative"} == {
        row["law"] for row in losses
    }
    assert len(store.query(db, "from calibration"))
    laws = store.query(db, "select distinct law from latest_projection where role = 'backtest' and quantity = 'loss'")
    assert laws["law"].to_list() == ["auto"], "what a report shows"


def test_a_size_of_another_family_is_a_number(db: Path) -> None:
    """`7B` is StarCoder's rung on StarCoder's ladder alone: here it is seven billion, with --db, --data and --reuse."""
    content = json.loads(run_cli("fit-scaling", "--db", db, "--target", "7B", "--holdout", "none", "--json").stdout)
    [size] = {p["n_params"] for fit in content["fits"] for p in fit["projections"]}
    assert size == 7e9
    again = run_cli("fit-scaling", "--db", db, "--reuse", content["fits"][0]["fit_id"], "--target", "7B", "--json")
    assert json.loads(again.stdout)[0]["n_params"] == 7e9
    stored = astraios.load_fit(content["fits"][0]["fit_id"], db)
    assert stored.predict(["7B", "made/70000"])["n_params"].to_list() == [7e9, 7e4], "and in Python"
    assert [row["expected_regret"] for row in content["ranking"]] == sorted(
        row["expected_regret"] for row in content["ranking"]
    )
    printed = run_cli("fit-scaling", "--db", db, "--target", "7B", "--holdout", "none").stdout
    assert "expected regret" in " ".join(printed.split())


def test_a_rung_that_was_never_run_can_be_bought() -> None:
    run = [1_137_207_296.0, 3_043_311_104.0]
    assert runnable_sizes(run, "starcoderbase", 15_517_456_384) == [*run, 7_327_263_232.0]
    assert runnable_sizes(run, "my own", 16e9) == runnable_sizes(run, None, 16e9) == run


def test_the_next_runs_fit_the_budget(db: Path) -> None:
    plan = json.loads(run_cli("design", "--db", db, "--budget", "1", "--target", "4M", "--json").stdout)
    assert plan["runs"]
    assert plan["spent"] <= 1
    assert plan["width_after"] < plan["width_before"]
    assert_one_line(run_cli("design", "--db", db, "--budget", "-1"), 2, "must be positive")
    assert_one_line(run_cli("design", "--db", db, "--budget", "1e-9"), 1, "no run fits")


@pytest.mark.parametrize(
    ("options", "code", "pattern"),
    [
        (("--target", "huge"), 2, "size 'huge'"),
        (("--holdout", "5B"), 2, "no run of that size; sizes: 70,000"),
        (("--level", "1.5"), 2, "between 0 and 1"),
        (("--law", "powr"), 2, "powr"),
        (("--split", "tset"), 2, "did you mean 'test'"),
        (("--ladder", "tiny"), 2, "--ladder 'tiny'"),
        (("--definition", "best"), 2, "--definition 'best'"),
    ],
)
def test_requests_that_make_no_sense(db: Path, options: tuple[str, ...], code: int, pattern: str) -> None:
    assert_one_line(run_cli("fit-scaling", "--db", db, *options), code, pattern)


def test_a_file_of_somebody_elses_runs(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        [{"how": m, "size": n, "final": loss_of(m, n)} for m in METHODS for n in SIZES],
    )
    frame.write_csv(tmp_path / "runs.csv")
    frame.write_parquet(tmp_path / "runs.parquet")
    printed = []
    for name in ("runs.csv", "runs.parquet"):
        result = run_cli(
            *("fit-scaling", "--data", tmp_path / name, "--n", "size", "--loss", "final", "--group", "how", "--json")
        )
        assert result.returncode == 0, result.stderr
        printed.append([fit["projections"] for fit in json.loads(result.stdout)["fits"]])
    assert printed[0] == printed[1]
    assert_one_line(run_cli("fit-scaling", "--data", tmp_path / "runs.csv"), 1, "no column 'n_params'")
    assert_one_line(run_cli("fit-scaling", "--data", tmp_path / "none.csv"), 1, "no file")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    assert_one_line(run_cli("fit-scaling", "--data", tmp_path / "bad.parquet"), 1, "not a readable")


def test_sizes_are_read_as_people_write_them() -> None:
    assert parse_size("16B", {"16b": 15_517_456_384}) == 15_517_456_384
    assert [parse_size(t, {}) for t in ("16B", "350M", "1.5e9", "66k", "2T")] == [16e9, 350e6, 1.5e9, 66e3, 2e12]
    assert next_rung([1e6, 2e6, 4e6]) == 8e6
    assert hidden_size("7B", [1e9, 7.3e9], {}) == 7.3e9
    assert hidden_size(2e9, [1e9, 7.3e9]) == 2e9, "a number cuts where it says"
    assert target_sizes((), [1e6, 2e6, 4e6]) == [8e6]
    assert target_sizes(("7B", 5e9), [1e6]) == [7e9, 5e9]
    for odd in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="positive number"):
            parse_size(odd)


def test_a_short_name_means_a_rung_of_its_own_ladder_alone() -> None:
    models = pl.DataFrame(
        {
            "model_id": ["EleutherAI/pythia-70m", "EleutherAI/pythia-6.9b", "EleutherAI/pythia-6.9b-deduped",
                         "my/phi-128k", "bigcode/starcoderbase-7b", "own-7b"],
            "ladder": ["pythia"] * 4 + ["starcoderbase", None],
            "n_params": [70_426_624, 6_857_302_016, 6_857_302_016, 3_800_000_000, 7_327_263_232, 6_500_000_000],
        }
    )  # fmt: skip
    pythia = ladder_names(models, "pythia")
    assert parse_size("7B", pythia) == 7e9
    assert parse_size("6.9B", pythia) == 6_857_302_016
    assert parse_size("pythia-70m", pythia) == 70_426_624
    assert parse_size("128k", pythia) == 128e3, "a context length in a name is no size"
    star = ladder_names(models, "starcoderbase")
    assert parse_size("7B", star) == parse_size("7B", rung_names("starcoderbase")) == 7_327_263_232
    assert parse_size("16B", star) == 15_517_456_384, "the rung above is known too"
    assert parse_size("16B", pythia) == 16e9
    assert parse_size("7B", ladder_names(models, None)) == 6.5e9
    two = models.with_columns(n_params=pl.Series([1, 6_857_302_016, 7_000_000_000, 1, 1, 1]))
    assert parse_size("6.9B", ladder_names(two, "pythia")) == 6.9e9, "a name that means two sizes means neither"


def test_scores_with_demonstrations_are_predicted(db: Path, tmp_path: Path) -> None:
    """Results of other harnesses are often five-shot only; where both are there, the fewest demonstrations count."""
    path = tmp_path / "a.duckdb"
    path.write_bytes(db.read_bytes())
    store.change(path, "insert into task by name select 'mmlu' as task_id, 'MMLU' as title, 'likelihood' as kind, "
                 "'acc' as metric, true as higher_is_better, 0.25 as chance")  # fmt: skip
    for shots in (5, 2):
        store.change(path, "insert into score by name select run_id, 1 as attempt, 'mmlu' as task_id, "
                     f"{shots} as n_shot, 'acc' as metric, {0.8 + shots / 100} - n_params ** -0.2 as value, "
                     "0.01 as stderr, 1000 as n from run")  # fmt: skip
        content = json.loads(run_cli("fit-scaling", "--db", path, "--target", "4M", "--json").stdout)
        by_method = {
            fit["group"]: [p for p in fit["projections"] if p.get("task_id") == "mmlu"] for fit in content["fits"]
        }
        assert set(by_method) == set(METHODS)
        found = [p for rows in by_method.values() for p in rows]
        hidden = [p for p in found if p["role"] == "backtest"]
        assert all(p["observed"] == pytest.approx(0.8 + shots / 100 - SIZES[-1] ** -0.2) for p in hidden)
        assert hidden


def test_scores_with_other_demonstrations_are_left_out_aloud(db: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    path.write_bytes(db.read_bytes())
    for shots, condition in ((5, "true"), (0, "method_id = 'fft'")):
        store.change(path, "insert into score by name select run_id, 1 as attempt, 'mmlu' as task_id, "
                     f"{shots} as n_shot, 'acc' as metric, 0.9 - n_params ** -0.2 as value, 0.01 as stderr, 1000 as n "
                     f"from run where {condition}")  # fmt: skip
    count, first = store.query(path, "select count(*), min(run_id) from run where method_id <> 'fft'").row(0)
    notes = [note for note in selecting.select(path, FitRequest()).notes if note.code == "other_shots"]
    assert [note.message for note in notes] == [
        "mmlu: scores count with 0 demonstrations, the fewest that the database has; left out are "
        f"{count} runs with 5 or more alone ({first}, ...): score them with as many, or keep the others in a database "
        "of their own"
    ]
    store.change(path, "delete from score where task_id = 'mmlu' and n_shot = 0")
    assert not selecting.select(path, FitRequest()).notes
