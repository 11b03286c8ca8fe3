"""Tags and exclusions are recorded, leave views and fits, and survive a rebuild; a run tells all of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from astraios import store, workflow
from tests.conftest import assert_one_line, run_cli
from tests.store.made import make_run

VIEWS = ("final_loss", "final_score", "loss_curve", "loss_to_score", "cost_frontier", "latest_attempt")


def runs_of(db: Path, view: str) -> set[str]:
    return set(store.query(db, f"select run_id from {view}")["run_id"])


def test_an_excluded_run_leaves_every_view_until_it_is_included(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    for i in range(3):
        make_run(out, f"run{i}", seed=i)
    store.ingest(db, out)
    with store.writing(db) as connection:
        for fit_id, run_id in (("f", "run0"), ("g", "run1")):
            connection.execute(
                "insert into fit (fit_id, role, quantity, law, estimator) values (?, 'target', 'loss', 'l', 'e')",
                [fit_id],
            )
            connection.execute("insert into fit_point (fit_id, run_id) values (?, ?)", [fit_id, run_id])
            connection.execute(
                "insert into projection (fit_id, role, quantity, n_params) values (?, 'target', 'loss', ?)",
                [fit_id, len(run_id) * (1 + (fit_id == "g"))],
            )
    assert run_cli("exclude", "run0", "--reason", "bad restart", "--by", "anna", "--db", db).returncode == 0
    for view in VIEWS:
        assert runs_of(db, view) == {"run1", "run2"}, view
    assert runs_of(db, "run") == {"run0", "run1", "run2"}, "it is still there"
    assert store.query(db, "select n_seeds from method_size_grid").item() == 2
    assert store.query(db, "select fit_id from latest_projection")["fit_id"].to_list() == ["g"]
    assert store.query(db, "select fit_id, run_ids from void_fit").rows() == [("f", "run0")]
    assert store.query(db, "select run_id, reason, author from excluded_run").rows() == [
        ("run0", "bad restart", "anna")
    ]
    run_cli("tag", "run1", "run2", "--as", "baseline", "--db", db)
    run_cli("tag", "run2", "--as", "baseline", "--remove", "--db", db)
    store.rebuild(db, out)
    assert runs_of(db, "final_loss") == {"run1", "run2"}
    assert store.query(db, "select run_id, tag from run_tag").rows() == [("run1", "baseline")]
    run_cli("include", "run0", "--db", db)
    assert runs_of(db, "final_loss") == {"run0", "run1", "run2"}
    assert store.query(db, "select count(*) from curation").item() == 5, "every word is kept"
    assert store.failed_checks(db) == {}


def test_curation_that_makes_no_sense(ladder: Path) -> None:
    assert_one_line(run_cli("exclude", "nobody", "--reason", "x", "--db", ladder), 2, "no run 'nobody'")
    assert_one_line(run_cli("exclude", "lora", "--reason", "x", "--db", ladder), 2, "runs 'lora': give the beginning")
    assert_one_line(run_cli("exclude", "lora-1", "--reason", " ", "--db", ladder), 2, "must say something")
    assert "Missing option '--reason'" in run_cli("exclude", "lora-1", "--db", ladder).stderr


def test_a_run_tells_all_of_itself(ladder: Path) -> None:
    facts = json.loads(run_cli("show", "lora-0-0", "--db", ladder, "--json").stdout)
    assert facts["run"]["settings"] == {"a": [1, "é"]}
    assert facts["tuning_method"]["method_id"] == "lora"
    assert [row["split"] for row in facts["losses"]] == ["test"]
    assert facts["scores"][0]["value"] == 0.5
    assert facts["curation"][0]["tag"] == "baseline"
    assert facts["fits"]
    shown = run_cli("show", "ia3-0-1", "--db", ladder).stdout
    assert "made to be excluded" in shown
    assert "content_hash" in shown
    paper = json.loads(run_cli("show", "bigcode/starcoderbase-1b:lora", "--db", ladder, "--json").stdout)
    assert paper["repeat"] == "astraios import paper"


@pytest.mark.promise("every documented query and example runs")
def test_the_command_that_repeats_a_run_asks_for_the_same_run(tmp_path: Path) -> None:
    """A sweep written from the database has one cell, with the run's own id."""
    from astraios.collect.plan.sweep import Sweep

    sweep = Sweep.read("learning_rate_tiny")
    cells = sweep.cells()
    for cell in (cells[0], cells[-1]):
        settings = json.loads(sweep.to_json())
        facts = {
            "run": {
                "run_id": cell.run_id,
                "model_id": cell.model_id,
                "method_id": cell.method_id,
                "seed": cell.seed,
                "learning_rate": cell.train.learning_rate,
                "origin": "measured",
            },
            "sweep": {"sweep_id": sweep.sweep_id, "name": sweep.name, "settings": settings},
        }
        [again] = Sweep.from_toml(workflow.sweep_again(facts), "again").cells()
        assert again.run_id == cell.run_id
