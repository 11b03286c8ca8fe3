"""What may be compared: studies, axes and targets at the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from astraios import store
from tests.conftest import assert_one_line, run_cli

SIZES = (1e7, 3e7, 1e8, 3e8)


def loss_at(n: float, d: float = 1e10, shift: float = 0.0) -> float:
    return float(1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28 + shift)


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Runs as a table that `astraios import` reads."""
    pl.DataFrame(rows).with_row_index("run_id").with_columns(run_id=pl.format("run{}", "run_id")).write_csv(path)
    return path


def database(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    """A database of imported runs."""
    db = tmp_path / "runs.duckdb"
    done = run_cli("import", table(tmp_path / "runs.csv", rows), "--db", db)
    assert done.returncode == 0, done.stderr
    return db


def runs(**changes: Any) -> list[dict[str, Any]]:
    """A run a size of two methods, the second 2 % worse."""
    return [
        {"model_id": f"pythia-{n / 1e6:.0f}m", "method_id": method, "n_params": int(n), "dataset_id": "text",
         "loss": loss_at(n) * worse, **changes}
        for method, worse in (("fft", 1.0), ("lora", 1.02))
        for n in SIZES
    ]  # fmt: skip


def fitted(*arguments: object) -> dict[str, Any]:
    result = run_cli("fit-scaling", "--json", *arguments)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_two_data_sets_are_two_studies(tmp_path: Path) -> None:
    """A data set 0.6 nats apart was pooled as noise."""
    other = [{**row, "dataset_id": "code", "loss": row["loss"] + 0.6} for row in runs()]
    db = database(tmp_path, [*runs(), *other])
    listed = json.loads(run_cli("studies", "--json", "--db", db).stdout)
    assert sorted((s["study"], s["n_runs"], s["n_sizes"]) for s in listed) == [
        ("pythia:code", 8, 4),
        ("pythia:text", 8, 4),
    ]
    for command in (
        ("fit-scaling",),
        ("design", "--budget", "1"),
        ("report", "--figure", "3", "-o", tmp_path / "f.svg"),
    ):
        assert_one_line(run_cli(*command, "--db", db), 2, r"2 studies.*pythia:code.*8 runs.*--study")
    apart = [fitted("--db", db, "--study", f"pythia:{name}", "--target", "1B") for name in ("text", "code")]
    means = [fit["fits"][0]["projections"][-1]["mean"] for fit in apart]
    assert means[1] - means[0] == pytest.approx(0.6, abs=0.05)
    assert_one_line(run_cli("fit-scaling", "--db", db, "--study", "pyth"), 2, "fits 2 studies")
    page = tmp_path / "page.html"
    assert run_cli("report", "--db", db, "-o", page).returncode == 0
    assert page.read_text().count("Compared:") == 2


def test_learning_rates_are_tuned_and_not_averaged(tmp_path: Path) -> None:
    """Three rates a point were averaged as if they were seeds."""
    rates = (1e-4, 3e-4, 1e-3)
    rows = [
        {**row, "learning_rate": rate, "loss": row["loss"] * float(np.exp(0.05 * np.log(rate / 3e-4) ** 2))}
        for row in runs() for rate in rates
    ]  # fmt: skip
    found = fitted("--db", database(tmp_path, rows), "--target", "1B")
    assert {axis["fact"]: axis["role"] for axis in found["axes"]}["learning_rate"] == "tuned"
    assert found["ranking"][0]["mean"] == pytest.approx(loss_at(1e9), rel=0.01)
    assert {row["series"] for row in found["optimum"]} == {"fft", "lora"}
    assert all(row["value"] == pytest.approx(3e-4, rel=0.05) for row in found["optimum"])
    assert found["ranking"][0]["method_id"] == "fft"


def test_a_target_has_an_amount_of_data(tmp_path: Path) -> None:
    """`--target 7B` over sizes and tokens was the projection of the smallest budget."""
    rows = [
        {"model_id": f"m-{n / 1e6:.0f}m", "method_id": "fft", "n_params": int(n), "n_tokens": int(d),
         "dataset_id": "text", "loss": loss_at(n, d)}
        for n in (*SIZES, 1e9) for d in (1e9, 3e9, 1e10, 3e10)
    ]  # fmt: skip
    db = database(tmp_path, rows)
    said = run_cli("fit-scaling", "--db", db, "--target", "7B")
    assert "at 30B tokens, the most that the largest size was trained on" in said.stderr
    assert "30,000,000,000" in said.stdout
    for options, tokens in (
        (("--target-tokens", "140e9"), 140e9), (("--tokens-per-param", "20"), 140e9),
        (("--target-flops", "5.88e21"), 140e9),
    ):  # fmt: skip
        found = fitted("--db", db, "--target", "7B", "--holdout", "none", *options)
        [projection] = [p for p in found["fits"][0]["projections"] if p["role"] == "target"]
        assert projection["n_tokens"] == pytest.approx(tokens)
        assert projection["mean"] == pytest.approx(loss_at(7e9, 140e9), rel=0.02)
        assert found["ranking"][0]["n_tokens"] == projection["n_tokens"]
    assert_one_line(
        run_cli("fit-scaling", "--db", db, "--target-tokens", "1B", "--tokens-per-param", "2"), 2, "in two ways"
    )
    best = fitted("--db", db, "--target-flops", "1e21", "--holdout", "none")["ranking"][0]
    assert best["n_params"] * best["n_tokens"] * 6 == pytest.approx(1e21, rel=1e-3)
    assert 0.3 < best["n_params"] / 2.9e9 < 3


def test_methods_are_ranked_at_equal_data(shared: Path) -> None:
    """Full tuning, 1 % worse at every equal point, had a third of the data and was shown 12 % behind."""
    found = fitted("--data", shared / "cases" / "fit" / "unequal_data.csv", "--group", "method", "--d", "tokens")
    first, second = found["ranking"]
    assert (first["method_id"], second["method_id"]) == ("lora", "FFT")
    assert first["n_tokens"] == second["n_tokens"] == pytest.approx(3e10)
    assert 0.005 < second["gap"] < 0.015
    assert second["gap_low"] < 0.01 < second["gap_high"]
    assert any(w["code"] == "less_data" for w in found["warnings"])


def test_a_size_is_a_rung_of_the_studys_own_ladder(tmp_path: Path) -> None:
    """`--target 7B` on a Pythia ladder meant StarCoder's 7.33e9."""
    found = fitted("--db", database(tmp_path, runs()), "--target", "7B")
    assert found["ranking"][0]["n_params"] == 7e9


def test_runs_without_a_ladder_are_a_study(tmp_path: Path) -> None:
    """They were dropped without a word beside one named ladder."""
    sizes = (
        ("starcoderbase-1b", 1_137_207_296),
        ("starcoderbase-3b", 3_043_311_104),
        ("starcoderbase-7b", 7_327_263_232),
    )
    named = [
        {**row, "model_id": f"bigcode/{name}", "n_params": n} for row, (name, n) in zip(runs(), sizes, strict=False)
    ]
    db = database(tmp_path, [*runs(), *named])
    listed = json.loads(run_cli("studies", "--json", "--db", db).stdout)
    assert {s["study"] for s in listed} == {"pythia", "starcoderbase"}
    assert_one_line(run_cli("fit-scaling", "--db", db), 2, "--study pythia")


def test_studies_are_joined_on_purpose(tmp_path: Path) -> None:
    """Two of one ladder by data set: both are chosen, and what they differ in has a role or is asked for."""
    other = [{**row, "dataset_id": "code", "loss": row["loss"] * 1.001} for row in runs()]
    db = database(tmp_path, [*runs(), *other])
    both = ("--db", db, "--study", "pythia:text,pythia:code", "--target", "1B")
    assert_one_line(run_cli("fit-scaling", *both), 2, r"dataset_id \(code, text\)")
    found = fitted(*both, "--by", "dataset_id")
    assert found["study"]["n_runs"] == 16
    assert len(found["ranking"]) == 4
    assert fitted(*both, "--repeat", "dataset_id")["ranking"][0]["mean"] == pytest.approx(loss_at(1e9), rel=0.02)


def test_proportional_data_answer_in_proportion_alone(tmp_path: Path) -> None:
    rows = [{**row, "n_tokens": row["n_params"] * 20} for row in runs()]
    db = database(tmp_path, rows)
    assert fitted("--db", db, "--target", "1B")["ranking"][0]["n_tokens"] == pytest.approx(2e10)
    assert_one_line(run_cli("fit-scaling", "--db", db, "--target", "1B", "--target-tokens", "1e12"), 1, "vary together")


def test_two_amounts_of_data_are_an_input_and_not_averaged(tmp_path: Path) -> None:
    rows = [
        {**row, "n_tokens": d, "loss": row["loss"] - loss_at(1e8) + loss_at(1e8, d)}
        for row in runs()
        for d in (10**9, 10**10)
    ]
    db = database(tmp_path, rows)
    found = fitted("--db", db, "--target", "1B")
    assert {axis["fact"]: axis["role"] for axis in found["axes"]}["n_tokens"] == "input"
    assert found["ranking"][0]["n_tokens"] == 1e10
    assert found["ranking"][0]["mean"] == pytest.approx(loss_at(1e9), rel=0.03)
    assert any(warning["code"] == "few_amounts" for warning in found["warnings"])
    held = fitted("--db", db, "--where", "n_tokens=1e9", "--target", "1B")
    assert held["ranking"][0]["mean"] == pytest.approx(loss_at(1e9) - loss_at(1e8) + loss_at(1e8, 1e9), rel=0.03)


def test_an_amount_that_only_one_size_has_twice_is_asked_about(tmp_path: Path) -> None:
    rows = [{**row, "n_tokens": 10**10} for row in runs()]
    rows += [{**row, "n_tokens": 10**9, "loss": row["loss"] + 0.4} for row in runs() if row["n_params"] == 10**7]
    db = database(tmp_path, rows)
    assert_one_line(run_cli("fit-scaling", "--db", db), 2, "n_tokens.*--where n_tokens=10000000000")


def test_a_stale_fit_is_said(tmp_path: Path) -> None:
    db = database(tmp_path, runs())
    assert fitted("--db", db)["since_last_fit"] == []
    more = [{**row, "seed": 1, "loss": row["loss"] * 1.001} for row in runs()]
    pl.DataFrame(more).with_row_index("run_id").with_columns(run_id=pl.format("more{}", "run_id")).write_csv(
        tmp_path / "m.csv"
    )
    said = run_cli("import", tmp_path / "m.csv", "--db", db)
    assert "astraios fit-scaling --study pythia" in said.stderr
    page = tmp_path / "page.html"
    run_cli("report", "--db", db, "-o", page)
    assert "These projections are stale" in page.read_text()
    changes = fitted("--db", db)["since_last_fit"]
    assert {(row["series"], row["new_runs"]) for row in changes} == {("fft", 4), ("lora", 4)}
    run_cli("report", "--db", db, "-o", page)
    assert "These projections are stale" not in page.read_text()


def test_sizes_in_billions_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "billions.csv"
    pl.DataFrame({"n_params": [1.0, 3.0, 7.0, 16.0], "loss": [3.0, 2.8, 2.6, 2.5]}).write_csv(path)
    assert any(w["code"] == "small_sizes" for w in fitted("--data", path)["warnings"])


def test_bits_of_the_weights_are_an_input_and_the_quantization_goes_with_them(tmp_path: Path) -> None:
    db, bits = tmp_path / "a.duckdb", {"none": 32, "8bit": 8, "nf4": 4}
    made = {f"{q}-{n:.0f}": (q, n) for q in bits for n in SIZES}
    frames = {
        "base_model": [{"model_id": f"made/{n:.0f}", "ladder": "made", "n_params": int(n)} for n in SIZES],
        "tuning_method": [{"method_id": "lora", "title": "LoRA", "kind": "low-rank"}],
        "run": [
            {
                "run_id": name, "origin": "imported", "model_id": f"made/{n:.0f}", "method_id": "lora", "seed": 0,
                "n_params": int(n), "settings": json.dumps({"train": {"quantization": q, "dtype": "float32"}}),
            }
            for name, (q, n) in made.items()
        ],
        "attempt": [{"run_id": name, "attempt": 1, "state": "done"} for name in made],
        "loss_point": [
            {
                "run_id": name, "attempt": 1, "split": "test", "step": 10,
                "loss_nats": loss_at(n * (1 - np.exp(-bits[q] / 3))),
            }
            for name, (q, n) in made.items()
        ],
    }  # fmt: skip
    store.import_frames(db, {name: pl.DataFrame(rows) for name, rows in frames.items()})
    named = ("--db", db, "--input", "bits=bits", "--target", "1B", "--law", "precision")
    found = fitted(*named, "--at", "bits=4")
    roles = {axis["fact"]: (axis["role"], axis["values"]) for axis in found["axes"]}
    assert roles["bits"] == ("input", [4.0, 8.0, 32.0])
    assert roles["quantization"] == ("input", ["8bit", "nf4", "none"])
    mean = next(p["mean"] for p in found["fits"][0]["projections"] if p["role"] == "target")
    assert mean == pytest.approx(loss_at(1e9 * (1 - np.exp(-4 / 3))), rel=0.01)
    assert_one_line(run_cli("fit-scaling", "--db", db), 2, "differ in quantization")
