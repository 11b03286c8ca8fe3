"""--fail-if: what a script can rely on when a projection or a comparison is not good enough."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from astraios.errors import UsageError
from astraios.fit.notes import CODES
from astraios.workflow.gates import GateError, check_conditions, check_gates, fit_facts
from tests.conftest import assert_one_line, run_cli


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series at five sizes whose order is plain; a third of them noise."""
    path = tmp_path_factory.mktemp("gates") / "runs.csv"
    sizes = [1e7, 3e7, 1e8, 3e8, 1e9]
    rows = [
        {"n_params": n, "loss": (1.7 + floor + 90 * n**-0.3) * (1 + 0.002 * ((i * 7) % 3 - 1)), "method": method}
        for method, floor in (("a", 0.0), ("b", 0.4))
        for i, n in enumerate(sizes)
    ]
    pl.DataFrame(rows).write_csv(path)
    return path


def fit(table: Path, *conditions: str) -> tuple[int, str, dict[str, object]]:
    options = [word for one in conditions for word in ("--fail-if", one)]
    result = run_cli("fit-scaling", "--data", table, "--group", "method", "--target", "10B", "--json", *options)
    return result.returncode, result.stderr, json.loads(result.stdout) if result.stdout else {}


def test_facts_are_those_of_the_analysis(table: Path) -> None:
    code, _, content = fit(table)
    assert code == 0
    facts = fit_facts(content)
    targets = [p for f in content["fits"] for p in f["projections"] if p["role"] == "target"]  # type: ignore[attr-defined]
    hidden = [p for f in content["fits"] for p in f["projections"] if p["role"] == "backtest"]  # type: ignore[attr-defined]
    assert facts["p_best"] == max(row["p_best"] for row in content["ranking"])  # type: ignore[attr-defined]
    assert facts["loss"] == min(p["mean"] for p in targets)
    assert facts["width"] == max((p["new_high"] - p["new_low"]) / p["mean"] for p in targets)
    assert facts["backtest_error"] == pytest.approx(
        sum(abs(p["observed"] / p["mean"] - 1) * p["mean"] / p["observed"] for p in hidden) / len(hidden)
    )
    assert facts["n_warnings"] == len(content["warnings"])  # type: ignore[arg-type]


def test_a_condition_that_holds_ends_with_one_after_printing(table: Path) -> None:
    code, said, content = fit(table, "p_best < 0.5")
    assert (code, said.count("--fail-if")) == (0, 0)
    code, said, content = fit(table, "p_best < 0.5", "width > 0.000001")
    assert code == 1
    assert content["fits"], "the result is printed all the same"
    assert "astraios: --fail-if: width > 0.000001 holds: width is 0." in said


def test_a_warning_is_a_condition(table: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    pl.read_csv(table).filter(pl.col("n_params") <= 1e8).write_csv(few)
    _code, _said, content = fit(few)
    codes = [warning["code"] for warning in content["warnings"]]  # type: ignore[attr-defined]
    assert codes
    assert fit(few, codes[0])[0] == 1
    assert "holds: it was given" in fit(few, codes[0])[1]
    quiet = next(code for code in CODES if code not in {w["code"] for w in fit(table)[2]["warnings"]})  # type: ignore[attr-defined]
    assert fit(table, quiet)[0] == 0


@pytest.mark.parametrize(
    "condition", ["p_bst < 0.9", "p_best <", "p_best < x", "< 3", "p_best = 3", "1 < p_best", "few_sizse"]
)
def test_a_condition_that_makes_no_sense_is_refused_before_anything_is_computed(condition: str, table: Path) -> None:
    result = run_cli("fit-scaling", "--data", table, "--fail-if", condition)
    assert_one_line(result, 2, "--fail-if")
    assert not result.stdout


def test_what_is_not_known_is_not_passed() -> None:
    with pytest.raises(GateError, match="can't be decided: p_best is not known"):
        check_gates(["p_best < 0.9"], {"p_best": None})
    with pytest.raises(GateError):
        check_gates(["p_best < 0.9"], {"p_best": float("nan")})
    with pytest.raises(UsageError, match="did you mean 'difference'"):
        check_conditions(["diference > 0"], ["difference", "p_value"])


@pytest.mark.parametrize(
    ("condition", "holds"),
    [("x<3", True), ("x <= 2", True), ("x>= 3", False), ("x == 2", True), ("x != 2", False), ("x > 1e-3", True),
     ("x", True), ("zero", False), ("zero < 1", True), ("x < -1", False), ("x < 2.0000001", True)],
)  # fmt: skip
def test_conditions(condition: str, holds: bool) -> None:
    facts = {"x": 2.0, "zero": 0}
    if holds:
        with pytest.raises(GateError):
            check_gates([condition], facts)
    else:
        check_gates([condition], facts)
