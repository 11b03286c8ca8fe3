"""Data that do not determine what is asked: each with its code or its one line, and no code on good data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import astraios.fit
from astraios.errors import DataError, FitError
from tests.conftest import assert_one_line, run_cli
from tests.fit.analysing import analyse

pytestmark = pytest.mark.promise("what the data can't say is refused or warned of")


def grid(noise: float = 0.002, seed: int = 0) -> pl.DataFrame:
    """A well-posed table: five sizes, five amounts of data."""
    rng = np.random.default_rng(seed)
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(2e8, 2e10, 5)))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(noise * rng.standard_normal(25))
    return pl.DataFrame({"n_params": n, "tokens": d, "loss": loss})


def codes(result: object) -> set[str]:
    return {w.code for w in result.warnings}  # type: ignore[attr-defined]


def test_well_posed_tables_raise_no_flags() -> None:
    flags = [codes(astraios.fit(grid(seed=seed), law="chinchilla", d="tokens")) for seed in range(20)]
    assert sum(bool(f) for f in flags) <= 1


def test_two_sizes_without_pooling_is_an_error() -> None:
    frame = pl.DataFrame({"n_params": [1e6, 1e7], "loss": [4.0, 3.5]})
    with pytest.raises(FitError, match="two sizes"):
        astraios.fit(frame)


def test_one_amount_of_data() -> None:
    frame = grid().filter(pl.col("tokens") < 3e8)
    result = astraios.fit(frame, d="tokens")
    assert "one_size_of_data" in codes(result)
    assert "beta" not in result.params


def test_collinear_size_and_data() -> None:
    frame = grid().group_by("n_params", maintain_order=True).first().with_columns(tokens=20 * pl.col("n_params"))
    assert "collinear" in codes(astraios.fit(frame, d="tokens"))


@pytest.mark.parametrize("bad", [-1.0, 0.0, float("nan"), float("inf"), None])
def test_losses_that_are_none(bad: float | None) -> None:
    frame = pl.DataFrame({"n_params": [1e6, 1e7, 1e8, 1e9], "loss": [4.0, 3.5, bad, 3.0]})
    with pytest.raises(DataError, match="row 2"):
        astraios.fit(frame)


def test_seeds_that_are_copies(tiny: pl.DataFrame) -> None:
    copies = pl.concat(
        [tiny, tiny.with_columns(seed=pl.lit(1, pl.Int64), run_id=pl.col("run_id") + "b")], how="vertical_relaxed"
    )
    assert "identical_seeds" in {w.code for w in analyse(copies).warnings}


def test_mixed_counts_of_parameters(tiny: pl.DataFrame) -> None:
    mixed = tiny.with_columns(
        n_params=pl.when(pl.col("method_id") == "fft").then(pl.col("n_params") // 2).otherwise(pl.col("n_params"))
    )
    with pytest.raises(DataError, match="non-embedding"):
        analyse(mixed)
    near = pl.DataFrame({"n_params": [1e6, 1.01e6, 1e7, 1e8], "loss": [4.0, 4.01, 3.5, 3.2]})
    assert "mixed_sizes" in codes(astraios.fit(near))


def test_irreducible_loss_at_its_bound() -> None:
    n = np.geomspace(1e6, 1e9, 12)
    frame = pl.DataFrame({"n_params": n, "loss": 20 * n**-0.1})
    assert "at_bound" in codes(astraios.fit(frame, law="power_offset", estimator="huber_1e-3"))


def test_thousandfold_extrapolation_is_a_warning(tiny: pl.DataFrame) -> None:
    result = astraios.fit(tiny, group="method_id")
    assert [w.code for w in result.warnings_at([1e9])] == ["far_extrapolation"]
    assert not result.warnings_at([2e6])
    assert result.predict([1e9])["mean"].is_finite().all()


def test_an_outlier_leaves_the_answer_in_place() -> None:
    clean = grid()
    spoilt = clean.with_columns(
        loss=pl.when(pl.int_range(pl.len()) == 7).then(pl.col("loss") * 1.5).otherwise(pl.col("loss"))
    )
    fits = [astraios.fit(frame, law="chinchilla", d="tokens") for frame in (clean, spoilt)]
    a, b = (fit.predict([1e10], [1e11])["mean"][0] for fit in fits)
    assert abs(b / a - 1) < 0.01
    assert fits[1].params["E"] > 1
    assert "outliers" in codes(fits[1])


@pytest.mark.parametrize("law", ["power", "power_offset", "shifted_power", "bounded"])
def test_projections_fall_with_size(tiny: pl.DataFrame, law: str) -> None:
    one = astraios.fit(tiny.filter(pl.col("method_id") == "lora"), law=law)
    means = one.predict(list(np.geomspace(1e5, 1e9, 12)))["mean"].to_numpy()
    assert (np.diff(means) < 1e-9).all()


def test_order_of_rows_and_units_do_not_matter() -> None:
    table = grid()
    first = astraios.fit(table, law="chinchilla", d="tokens").predict([3e9], [5e10])
    mixed = table.sample(fraction=1, shuffle=True, seed=1).with_columns(
        pl.col("n_params") / 1e6, pl.col("tokens") / 1e9
    )
    again = astraios.fit(mixed, law="chinchilla", d="tokens").predict([3e3], [50])
    for name in ("mean", "low", "high", "new_low", "new_high"):
        assert again[name][0] == pytest.approx(first[name][0], rel=1e-6)


SIZES = (1e6, 4e6, 1.6e7, 6.4e7)


def rows(
    sizes: tuple[float, ...] = SIZES,
    tokens: Callable[[float], float] = lambda n: 1e9,
    loss: Callable[[float], float] = lambda n: 1.5 + 40 * n**-0.3,
) -> str:
    """A CSV of runs; data and loss are functions of the size."""
    return "\n".join(["n_params,tokens,loss", *(f"{n},{tokens(n)},{loss(n)}" for n in sizes)])


@pytest.mark.parametrize(
    ("content", "options", "code", "said"),
    [
        (rows(SIZES[:2]), (), 1, "two sizes"),
        (rows(loss=lambda n: -1.0 if n > 2e7 else 3.0), (), 1, "row 3"),
        (rows(loss=lambda n: float("nan") if n > 2e7 else 3.0), (), 1, "row 3"),
        (rows(loss=lambda n: 2.0 + 0.1 * np.log(n)), (), 0, "not_monotone"),
        (rows(), ("--d", "tokens"), 0, "one_size_of_data"),
        (rows(tokens=lambda n: 20 * n), ("--d", "tokens"), 0, "collinear"),
        (rows((1e6, 1.01e6, 1e7, 1e8)), (), 0, "mixed_sizes"),
        ("\n".join([rows(), *rows().splitlines()[1:]]), (), 0, "identical_seeds"),
        (rows(), ("--target", "64B"), 0, "far_extrapolation"),
    ],
)
def test_the_command_says_it_in_a_line_and_its_exit_code(
    content: str, options: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "runs.csv").write_text(content)
    result = run_cli("fit-scaling", "--data", tmp_path / "runs.csv", *options)
    if code:
        assert_one_line(result, code, said)
        return
    assert result.returncode == 0, result.stderr
    assert len([line for line in result.stderr.splitlines() if said in line]) == 1, result.stderr
    found = json.loads(run_cli("fit-scaling", "--data", tmp_path / "runs.csv", *options, "--json").stdout)
    assert said in {warning["code"] for warning in found["warnings"]}
