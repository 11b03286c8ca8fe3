"""Scores and losses that do not meet are told, with how to join them."""

from __future__ import annotations

from pathlib import Path

import pytest

from astraios import store
from astraios.errors import AstraiosError
from astraios.workflow import FitRequest, fit_scaling
from tests.importers.conftest import take

SIZES = (1_000_000, 2_000_000, 4_000_000, 8_000_000)


def tables(folder: Path, prefix: str) -> tuple[Path, Path]:
    """Losses of four runs, and scores of runs with the same names after a prefix."""
    losses, scores = folder / "losses.csv", folder / "scores.csv"
    losses.write_text(
        "run,method,n_params,test_loss\n" + "".join(f"m{n},lora,{n},{1 + 40 * n**-0.25:.6f}\n" for n in SIZES)
    )
    scores.write_text(
        "run,method,n_params,task,metric,value\n"
        + "".join(f"{prefix}m{n},lora,{n},arc,acc,{0.3 + place / 10}\n" for place, n in enumerate(SIZES))
    )
    return losses, scores


@pytest.mark.promise("one run is one run, whoever logged it")
@pytest.mark.parametrize("prefix", ["", "eval-"])
def test_whether_scores_and_losses_meet(prefix: str, tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    for source in tables(tmp_path, prefix):
        take(source, db)
    warnings = [one["message"] for one in fit_scaling(db, FitRequest())["warnings"] if one["code"] == "scores_apart"]
    if not prefix:
        assert not warnings
        return
    (line,) = warnings
    assert "4 runs with scores and no loss (as eval-m1000000), 4 runs with losses and no score, no run has both" in line
    run = line.partition("--set run_id=")[2].partition("`")[0]
    assert run in store.query(db, "select run_id from run where run_id in (select run_id from loss_summary)")["run_id"]


def test_an_error_of_the_fit_says_it_too(tmp_path: Path) -> None:
    """Unjoined scores of another data set make a second study, and the line that asks which one is meant tells why."""
    db = tmp_path / "a.duckdb"
    losses, scores = tables(tmp_path, "eval-")
    take(losses, db, dataset_id="mine")
    take(scores, db)
    with pytest.raises(AstraiosError, match=r"holds 2 studies.*; scores and losses do not meet: 4 runs with scores"):
        fit_scaling(db, FitRequest())
