"""Bases that were pretrained several times: their common luck is set apart, and what that buys."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from astraios import store
from astraios.fit.analysis import Analysis
from astraios.fit.bases import set_apart
from astraios.fit.observations import read
from tests.conftest import run_cli
from tests.fit.analysing import analyse, backtests, table

SIZES = (60_000, 120_000, 240_000, 480_000)


def made(rng: np.random.Generator, spread: float = 0.015, noise: float = 0.002, bases: int = 3) -> pl.DataFrame:
    """Five methods 1 % apart on the same bases, several a size: a deviation for each base, a little noise each run."""
    rows = []
    for size in SIZES:
        luck = spread * rng.standard_normal(bases)
        for m in range(5):
            curve = np.log((2.5 + 60 * size**-0.35) * (1 + 0.01 * m))
            for b in range(bases):
                rows.append({"method_id": f"m{m}", "run_id": f"{m}-{size}-{b}", "model_id": f"{size}-s{b}", "seed": 0,
                             "n_params": size, "n_tokens": None,
                             "loss": float(np.exp(curve + luck[b] + noise * rng.standard_normal()))})  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"n_tokens": pl.Int64})


def test_the_luck_of_bases_is_found_and_taken_out() -> None:
    rng = np.random.default_rng(0)
    spreads, left = [], []
    for _ in range(30):
        ladder = set_apart(read(made(rng), group="method_id"))
        assert ladder.bases is not None
        assert set(ladder.bases.count.values()) == {3}
        spreads.append(ladder.bases.spread)
        for series in ladder.series:
            cells = series.log_loss.reshape(len(SIZES), 3)
            left.append(cells.std(axis=1, ddof=1))
    assert np.sqrt(np.mean(np.square(spreads))) == pytest.approx(0.015, rel=0.2)
    assert np.sqrt(np.mean(np.square(left))) < 0.004


def test_ladders_without_shared_bases_stay_as_they_are() -> None:
    frame = made(np.random.default_rng(0))
    one = read(frame.filter(pl.col("run_id").str.ends_with("-0")), group="method_id")
    assert set_apart(one) is one
    own = read(frame.with_columns(model_id=pl.col("run_id")), group="method_id")
    assert set_apart(own) is own
    unknown = read(frame.drop("model_id"), group="method_id")
    assert set_apart(unknown) is unknown


def test_methods_a_percent_apart_are_separated_through_their_bases() -> None:
    """The noise between bases is larger than the gap; what pairs the methods shows it all the same."""
    rng = np.random.default_rng(1)
    frame = made(rng)
    paired = {r.method_id: r for r in analyse(frame, targets=[9.6e5]).ranking}
    assert "m4" not in paired["m0"].not_separable_from
    assert paired["m0"].p_best > 0.9
    new = next(p for p in analyse(frame, targets=[9.6e5]).of("target") if p.method_id == "m0")
    assert np.log(new.new_high / new.new_low) > 2 * 1.645 * 0.01, "a new run has the luck of its base"
    assert new.high - new.low < new.new_high - new.new_low


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Test losses of the sweep `tiny_seeds`: of $ASTRAIOS_SEEDS_DB, or of the sweep run here (an hour on two cores)."""
    path = Path(os.environ.get("ASTRAIOS_SEEDS_DB", ""))
    if not path.is_file():
        folder = tmp_path_factory.mktemp("seeds")
        path = folder / "a.duckdb"
        result = run_cli("collect", "tiny_seeds", "--out", folder / "runs", "--db", path)
        assert result.returncode == 0, result.stderr
    return store.query(
        path,
        "select method_id, run_id, model_id, n_params, n_tokens, seed, loss_nats as loss from final_loss "
        "where split = 'test' and ladder = 'tiny' order by all",
    )


@pytest.fixture(scope="module")
def analysis(seeds: pl.DataFrame) -> Analysis:
    return analyse(seeds, targets=[1e6])


@pytest.mark.slow
@pytest.mark.promise("bases that were pretrained several times are told from methods")
def test_replicates_of_a_base_are_one_size(seeds: pl.DataFrame, analysis: Analysis) -> None:
    counts = seeds.group_by("n_params").agg(pl.col("model_id").n_unique().alias("bases"), pl.len().alias("runs"))
    assert counts["bases"].to_list() == [3] * 4
    assert counts["runs"].to_list() == [21] * 4
    assert len(analysis.of("backtest")) == 7
    bases = analysis.parts[0].ensemble.ladder.bases
    assert bases is not None
    assert len(bases.deviation) == 12


@pytest.mark.slow
@pytest.mark.promise("bases that were pretrained several times are told from methods")
def test_the_hidden_size_lies_inside_its_intervals(seeds: pl.DataFrame, analysis: Analysis) -> None:
    """Each of the 21 runs against the interval of a new run. Runs share bases, so this is no count of 21 coins."""
    largest = seeds["n_params"].max()
    inside = []
    for p in analysis.of("backtest"):
        hidden = seeds.filter(pl.col("method_id") == p.method_id, pl.col("n_params") == largest)["loss"]
        inside += [p.new_low <= loss <= p.new_high for loss in hidden]
    assert len(inside) == 21
    assert np.mean(inside) >= 0.8, f"{sum(inside)} of 21 inside"
    assert analysis.summary["coverage"] >= 6 / 7


@pytest.mark.slow
@pytest.mark.promise("bases that were pretrained several times are told from methods")
def test_carry_forward_and_the_power_law_stand_beside(seeds: pl.DataFrame) -> None:
    rows = table(backtests(seeds, laws=("auto", "power"), targets=[1e6]))
    assert set(rows["law"]) == {"auto", "power"}
    auto = rows.filter(pl.col("law") == "auto")
    power = rows.filter(pl.col("law") == "power")
    assert len(power) == len(auto) == 14
    ours, carried = (float(np.mean(auto[name].to_numpy())) for name in ("relative_error", "carry_forward_error"))
    assert ours < carried


@pytest.mark.slow
@pytest.mark.promise("bases that were pretrained several times are told from methods")
def test_copies_of_a_method_are_not_separable_and_different_ones_are(seeds: pl.DataFrame) -> None:
    """One base's runs of a method under another name, for every method and base; then the methods against each other.

    At a level of 90 % one copy in ten may be called different.
    """
    replicate = pl.col("model_id").str.extract(r"-s(\d)$").fill_null("0")
    apart = []
    for method in seeds["method_id"].unique().sort():
        for base in "012":
            copy = (pl.col("method_id") == method) & (replicate == base)
            named = seeds.with_columns(method_id=pl.when(copy).then(pl.lit("copy")).otherwise(pl.col("method_id")))
            found = {r.method_id: r for r in analyse(named, targets=[1e6], holdout=None).ranking}
            if "copy" not in found[method].not_separable_from:
                apart.append(f"{method}, base {base}")
    assert len(apart) <= 4, f"called different: {apart}"
    ranks = {r.method_id: r for r in analyse(seeds, targets=[1e6], holdout=None).ranking}
    pairs = list(combinations(sorted(ranks), 2))
    separated = [(a, b) for a, b in pairs if b not in ranks[a].not_separable_from]
    means = seeds.filter(pl.col("n_params") == seeds["n_params"].max()).group_by("method_id").agg(pl.col("loss").mean())
    loss = dict(means.iter_rows())
    clear = [(a, b) for a, b in pairs if abs(np.log(loss[a] / loss[b])) > 0.03]
    assert clear
    assert set(clear) <= set(separated), "three per cent apart at the largest size, on the same bases"
