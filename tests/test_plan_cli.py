"""plan, speedup, status --forecast and what the report makes of them, on a database of sizes and data."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest

from astraios import store
from tests.conftest import REPOSITORY, assert_one_line, run_cli

SIZES, TOKENS = (10**7, 3 * 10**7, 10**8, 3 * 10**8), (3 * 10**8, 10**9, 3 * 10**9, 10**10)
METHODS = {"fft": 1.0, "lora": 1.15}


def loss_of(method: str, n: float, d: float) -> float:
    return 1.8 + METHODS[method] * (480 * n**-0.35 + 2100 * d**-0.37)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods at four sizes by four amounts of data, with costs, and their fits."""
    path = tmp_path_factory.mktemp("plan") / "a.duckdb"
    runs = [(f"{m}-{n}-{d}", m, n, d) for m in METHODS for n in SIZES for d in TOKENS]
    frames = {
        "base_model": [{"model_id": f"made/{n}", "ladder": "made", "n_params": n} for n in SIZES],
        "tuning_method": [{"method_id": m, "title": m.upper(), "kind": "other"} for m in METHODS],
        "run": [
            {
                "run_id": r, "origin": "imported", "model_id": f"made/{n}", "method_id": m, "seed": 0, "n_params": n,
                "n_tokens": d, "train_flops": 6.0 * n * d,
            }
            for r, m, n, d in runs
        ],
        "attempt": [
            {"run_id": r, "attempt": 1, "state": "done", "device_seconds": 6.0 * n * d / 1e14} for r, _, n, d in runs
        ],
        "loss_point": [
            {"run_id": r, "attempt": 1, "split": "test", "step": 10, "loss_nats": loss_of(m, n, d)}
            for r, m, n, d in runs
        ],
    }  # fmt: skip
    store.import_frames(path, {name: pl.DataFrame(rows) for name, rows in frames.items()})
    assert run_cli("fit-scaling", "--db", path, "--law", "chinchilla").returncode == 0
    return path


def _json(*arguments: object) -> object:
    result = run_cli(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_plan_is_printed_and_stored(db: Path) -> None:
    rows = _json("plan", "--db", db, "--flops", "1e20", "--law", "chinchilla")
    assert [row["series"] for row in rows] == ["fft", "lora"]  # type: ignore[index, union-attr]
    row = rows[0]  # type: ignore[index]
    assert row["n_params_low"] < row["n_params"] < row["n_params_high"]
    assert row["n_params"] * row["n_tokens"] == pytest.approx(1e20 / 6)
    assert row["device_hours"] == pytest.approx(1e20 / 1e14 / 3600, rel=1e-3)
    assert row["flat"][0] < row["n_params"] < row["flat"][1]
    assert any(line.startswith("device-hours: measured device-hours") for line in row["assumed"])
    assert not any("the laws hold at" in line for line in row["assumed"])
    far = _json("plan", "--db", db, "--flops", "1e30", "--law", "chinchilla", "--series", "fft")[0]["assumed"]  # type: ignore[index]
    assert "the laws hold at over 1e+10 times the largest measured budget" in far
    stored = store.query(db, "select series, n_params from allocation where asked = 'flops=1e+20' order by series")
    assert stored["n_params"][0] == pytest.approx(row["n_params"])
    [back] = _json("plan", "--db", db, "--loss", row["loss"], "--series", "fft", "--law", "chinchilla")  # type: ignore[misc]
    assert back["flops"] == pytest.approx(1e20, rel=1e-3)


def test_money_is_device_hours_at_a_price(db: Path) -> None:
    options = ("plan", "--db", db, "--law", "chinchilla", "--series", "fft")
    [money] = _json(*options, "--money", "100", "--price", "2")  # type: ignore[misc]
    [hours] = _json(*options, "--device-hours", "50")  # type: ignore[misc]
    assert money["n_params"] == pytest.approx(hours["n_params"], rel=1e-4)
    assert money["price"] == pytest.approx(100)
    assert "measured device-hours" in money["assumed"][0]
    assert_one_line(run_cli(*options, "--money", "100"), 2, "--price")
    assert_one_line(run_cli(*options), 2, "nothing was asked")
    assert_one_line(run_cli(*options, "--score", "mutant"), 2, "TASK=FRACTION")
    assert_one_line(run_cli(*options, "--flops", "1e20", "--loss", "2"), 2, "--flops and --loss")


def test_a_loss_below_the_floor_says_so(db: Path) -> None:
    result = run_cli("plan", "--db", db, "--loss", "1.5", "--law", "chinchilla")
    assert result.returncode == 0
    assert "not reachable" in result.stderr


def test_a_speed_up_is_printed_and_stored_beside_the_crossing(db: Path) -> None:
    found = _json("speedup", "lora", "fft", "--db", db, "--law", "chinchilla", "--estimator", "huber_1e-3")
    assert found["factor"] == pytest.approx(1.15 ** (0.72 / (0.35 * 0.37)), rel=1e-3)  # type: ignore[index]
    assert found["separable"]  # type: ignore[index]
    assert found["crossing"]["better_at_largest"] == "fft"  # type: ignore[index]
    assert store.query(db, "from speed_up where series = 'lora' and unit = 'flops'").height == 1
    seconds = _json("speedup", "lora", "fft", "--db", db, "--law", "chinchilla", "--unit", "seconds")
    assert seconds["factor"] > 1  # type: ignore[index]
    assert "separable" in run_cli("speedup", "lora", "fft", "--db", db, "--law", "chinchilla").stdout
    assert _json("plan", "--crossing", "lora", "fft", "--db", db, "--law", "chinchilla")["probability"] < 0.2  # type: ignore[index]
    assert_one_line(run_cli("speedup", "lora", "nobody", "--db", db), 2, "no series 'nobody'")


def test_the_report_has_a_planner_and_isoflop_lines(db: Path, tmp_path: Path) -> None:
    assert run_cli("report", "--db", db, "-o", tmp_path / "report.html").returncode == 0
    page = (tmp_path / "report.html").read_text()
    assert 'class="control planner"' in page
    assert 'id="isoflop"' in page
    assert 'id="table-speed-ups"' in page
    rows = store.query(db, "select flops, count(*) as n, sum(is_best::int) as best from isoflop_line "
                           "where series = 'fft' group by flops")  # fmt: skip
    assert set(rows["best"]) == {1}
    assert run_cli("report", "--db", db, "--figure", "isoflop", "-o", tmp_path / "isoflop.svg").returncode == 0


def test_a_sweep_is_simulated_before_it_is_run(tmp_path: Path) -> None:
    result = run_cli("plan", "--simulate", "tiny", "--db", tmp_path / "none.duckdb", "--json")
    assert result.returncode == 0, result.stderr
    content = json.loads(result.stdout)
    # What came out of the tiny sweep at its next rung: 5.5 % (docs/planning.md).
    assert 2 / 3 < content["planned"]["width"] / 0.055 < 4 / 3
    assert 0 <= content["planned"]["power"] <= 1
    assert "costs:" in result.stderr


def test_nothing_unfinished_has_no_forecast(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert "no run that has begun" in run_cli("status", "--out", tmp_path / "runs", "--forecast").stderr


def test_the_guides_commands_run(db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of docs/planning.md, in its order, in one folder."""
    text = (REPOSITORY / "docs" / "planning.md").read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTRAIOS_DB", str(db))
    (tmp_path / "runs").mkdir()
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, "planning.md", "exec"), {})
    _write_rl_and_experts(tmp_path)
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.strip().splitlines():
            result = run_cli(*shlex.split(line)[1:])
            assert result.returncode == 0, f"{line}: {result.stderr}"


def _write_rl_and_experts(folder: Path) -> None:
    reward = [
        {"recipe": r, "step": s, "reward": 0.2 + 0.6 / (1 + (20 / s) ** b)}
        for r, b in (("old", 1.5), ("new", 2.5))
        for s in range(4, 80, 4)
    ]
    pl.DataFrame(reward).write_csv(folder / "rl.csv")
    sizes = [
        {"recipe": "new", "n_params": n, "step": s, "reward": 0.2 + ceiling / (1 + (20 / s) ** 1.5)}
        for n, ceiling in ((1e9, 0.4), (3e9, 0.5), (9e9, 0.6))
        for s in range(4, 80, 4)
    ]
    pl.DataFrame(sizes).write_csv(folder / "rl_sizes.csv")
    experts = [
        {"n_params": n, "experts": e, "loss": 9.0 * n**-0.07 * e**-0.04}
        for n in (1e7, 3e7, 1e8, 3e8, 1e9)
        for e in (1, 4, 16, 64)
    ]
    pl.DataFrame(experts).write_csv(folder / "moe.csv")
