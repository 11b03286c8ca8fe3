"""Scores along training: while a cell trains, and afterwards from the checkpoints that it kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from astraios import store
from astraios.collect.cell.run import run_cell
from astraios.collect.plan.cell_plan import describe
from astraios.collect.plan.keep import needed_bytes
from astraios.collect.plan.sweep import Sweep
from astraios.runs.directory import RunDirectory
from tests.conftest import assert_one_line, run_cli, sweep_toml

pytest.importorskip("torch")

POINTS = (
    "select method_id, task_id, metric, step, p.n_tokens, value, stderr, n from score_point p join run using (run_id) "
    "order by all"
)


def trained(text: str, out: Path) -> list[Path]:
    """All cells of a sweep, one after the other in this process."""
    sweep = Sweep.from_toml(text, "x")
    cells = sweep.cells()
    for cell in cells:
        run_cell(cell, sweep.to_json(), out, device="cpu")
    return [out / cell.run_id for cell in cells]


@pytest.fixture(scope="module")
def plain(small_models: list[str], pairs_file: Path) -> str:
    """A sweep without scores along training; AdaLoRA's allocator and P-Tuning's encoder are part of their state."""
    methods = ["fft", "lora", "ptuning", "adalora"]
    return sweep_toml(small_models[:1], pairs_file, methods=methods).replace("eval_every = 2", "eval_every = 4")


@pytest.fixture(scope="module")
def both_ways(plain: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """Its cells as they are, and with scores along training and kept checkpoints."""
    folder = tmp_path_factory.mktemp("along")
    scored = plain.replace("eval_every", "score_every = 2\neval_every") + "[keep]\ncheckpoints = true\n"
    return trained(plain, folder / "plain"), trained(scored, folder / "scored")


def test_training_is_not_disturbed_by_its_scores(both_ways: tuple[list[Path], list[Path]]) -> None:
    for before, after in zip(*both_ways, strict=True):
        assert before.name == after.name
        known = {(p.split, p.step): p for p in RunDirectory(after).losses()}
        assert all(known[point.split, point.step] == point for point in RunDirectory(before).losses())
        assert ("test", 2) in known, "a score along training stands beside the loss of its step"
        assert (before / "scores.parquet").read_bytes() == (after / "scores.parquet").read_bytes()
        assert not (before / "checkpoints").exists()
        assert not RunDirectory(before).points()


def test_kept_checkpoints_give_the_scores_of_training(both_ways: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    db, again = tmp_path / "a.duckdb", tmp_path / "b.duckdb"
    store.ingest(db, both_ways[1][0].parent)
    live = store.query(db, POINTS).rows()
    assert {row[3] for row in live} == {2, 4, 6}
    assert len({row[0] for row in live}) == 4
    final = store.query(db, "select method_id, task_id, metric, value from score join run using (run_id)").rows()
    assert sorted(final) == sorted((m, t, metric, value) for m, t, metric, step, _, value, _, _ in live if step == 6)

    out = tmp_path / "runs"
    for before, after in zip(*both_ways, strict=True):
        shutil.copytree(before, out / before.name)
        shutil.copytree(after / "checkpoints", out / before.name / "checkpoints")
        result = run_cli("evaluate", out / before.name, "--checkpoints", "--task", "next-token", "--db", again)
        assert result.returncode == 0, result.stderr
        assert "step 2: 1 tasks in" in result.stderr
    assert store.query(again, POINTS).rows() == live
    assert store.failed_checks(again) == {}
    result = run_cli("evaluate", out / before.name, "--checkpoints", "--task", "next-token", "--db", again)
    assert "step 6: scored before" in result.stderr


def test_what_is_scored_already_is_not_scored_again(
    both_ways: tuple[list[Path], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astraios.collect.cell import scoring

    run = tmp_path / "runs" / both_ways[0][0].name
    shutil.copytree(both_ways[0][0], run)
    shutil.copytree(both_ways[1][0] / "checkpoints", run / "checkpoints")
    scored = []
    result = scoring.Scorer.result

    def killed(self: scoring.Scorer, model: object, task: str, step: int | None = None) -> object:
        if step == 4:
            raise KeyboardInterrupt
        scored.append(step)
        return result(self, model, task, step)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(scoring.Scorer, "result", killed)
        with pytest.raises(KeyboardInterrupt):
            scoring.score_checkpoints(run, ["next-token"], {}, "cpu")
    told: list[str] = []
    points = scoring.score_checkpoints(run, ["next-token"], {}, "cpu", told.append)
    assert scored == [2]
    assert [line.partition(":")[0] for line in told] == ["step 2", "step 4", "step 6"]
    assert told[0] == "step 2: scored before"
    assert points == RunDirectory(both_ways[1][0]).points()


def test_what_can_not_be_scored_along_training_is_one_line(
    both_ways: tuple[list[Path], list[Path]], plain: str, tmp_path: Path
) -> None:
    run, task = both_ways[0][0], ("--checkpoints", "--task", "next-token", "--dry-run")
    assert_one_line(run_cli("evaluate", tmp_path, *task), 1, "no run directory of `astraios collect`")
    assert_one_line(run_cli("evaluate", run, *task), 1, r"kept no checkpoints: .*\[keep\] checkpoints = true")
    assert_one_line(run_cli("evaluate", run, *task, "--limit", 2), 2, "--checkpoints with --limit")
    assert_one_line(run_cli("evaluate", run, *task, "--method", "lora"), 2, "--checkpoints takes --method from")
    (tmp_path / "s.toml").write_text(
        plain.replace("micro_batch = 2", "micro_batch = 1\nscore_every = 2\nprocesses = 2")
    )
    several = run_cli("collect", tmp_path / "s.toml", "--dry-run")
    assert_one_line(several, 2, r"score_every .*\[keep\] checkpoints = true.*--checkpoints")
    (tmp_path / "s.toml").write_text(plain.replace("eval_every", "score_every = [2, 4]\neval_every"))
    assert_one_line(run_cli("collect", tmp_path / "s.toml", "--dry-run"), 2, "score_every")
    without = plain.replace("eval_every", "score_every = 2\neval_every").replace('["next-token"]', "[]")
    (tmp_path / "s.toml").write_text(without)
    assert_one_line(run_cli("collect", tmp_path / "s.toml", "--dry-run"), 2, "score_every.*no tasks")


def test_the_plan_counts_what_checkpoints_take(plain: str) -> None:
    sweep, kept = Sweep.from_toml(plain, "x"), Sweep.from_toml(plain + "[keep]\ncheckpoints = true\n", "x")
    plans = [describe(cell) for cell in sweep.cells()]
    more = needed_bytes(plans, kept.keep) - needed_bytes(plans, sweep.keep)
    assert more == 3 * 4 * sum(one.count.n_trainable for one in plans)
