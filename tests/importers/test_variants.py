"""A trial, a quantized model or other arguments are evaluations of their own: they never stand for the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from tests.importers.conftest import take

PROMISE = "an import says what the runs really had"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


def scores(db: Path) -> list[tuple[Any, ...]]:
    return list(store.query(db, "select task_id, n_shot, value from score where metric = 'acc' order by all").rows())


def lm_eval(
    folder: Path, value: float, hour: int, args: str = "", shots: int = 0, effective: int = 100, **config: Any
) -> Path:
    """Results of one task, as version 0.4 writes them."""
    name = f"results_2026-01-01T{hour:02}-00-00.000001.json"
    content = {
        "results": {"arc": {"alias": "arc", "acc,none": value, "acc_stderr,none": 0.01}},
        "configs": {"arc": {"output_type": "multiple_choice", "num_fewshot": shots}},
        "versions": {"arc": 1}, "n-shot": {"arc": shots},
        "n-samples": {"arc": {"original": 100, "effective": effective}}, "higher_is_better": {"arc": {"acc": True}},
        "config": {"model": "hf", "model_args": f"pretrained=acme/m{args}", "model_num_parameters": 10**6, **config},
        "date": 1_767_225_600.0 + 3600 * hour, "lm_eval_version": "0.4.9",
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(content))
    return path


@pytest.mark.promise(PROMISE)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_trial_stands_beside_the_whole(order: tuple[int, int], at_once: bool, db: Path, tmp_path: Path) -> None:
    """Whichever is newer, in one import or in two, and in a database that holds the trial alone."""
    made = [
        lm_eval(tmp_path / "out", 0.5, 1 + order[0]),
        lm_eval(tmp_path / "out", 0.9, 1 + order[1], effective=10, limit=10.0),
    ]
    for source in [tmp_path / "out"] if at_once else [made[order[0]], made[order[1]]]:
        take(source, db)
    assert scores(db) == [("arc", 0, 0.5), ("arc [limit=10]", 0, 0.9)]
    alone = tmp_path / "alone.duckdb"
    take(made[1], alone)
    assert scores(alone) == [("arc [limit=10]", 0, 0.9)]


def test_a_limit_that_leaves_nothing_out_is_no_limit(db: Path, tmp_path: Path) -> None:
    take(lm_eval(tmp_path, 0.5, 1, limit=1000, effective=100), db)
    assert scores(db) == [("arc", 0, 0.5)]


@pytest.mark.promise(PROMISE)
def test_whatever_changes_the_answers_is_another_evaluation(db: Path, tmp_path: Path) -> None:
    files = [
        lm_eval(tmp_path / "a", 0.1, 1), lm_eval(tmp_path / "b", 0.2, 2, shots=5),
        lm_eval(tmp_path / "c", 0.3, 3, args=",load_in_4bit=True"), lm_eval(tmp_path / "d", 0.4, 4, args=",dtype=half"),
        lm_eval(tmp_path / "e", 0.5, 5, gen_kwargs="temperature=0.7"),
        lm_eval(tmp_path / "f", 0.6, 6, effective=7),
        lm_eval(tmp_path / "g", 0.7, 7, system_instruction="Be brief."),
        lm_eval(tmp_path / "h", 0.8, 8, system_instruction="Be kind."),
    ]  # fmt: skip
    for path in files:
        take(path, db)
    found = scores(db)
    assert [row for row in found if "system" not in row[0]] == [
        ("arc", 0, 0.4), ("arc", 5, 0.2), ("arc [7 of 100]", 0, 0.6), ("arc [load_in_4bit=True]", 0, 0.3),
        ("arc [temperature=0.7]", 0, 0.5),
    ]  # fmt: skip
    assert sorted(row[2] for row in found if "system" in row[0]) == [0.7, 0.8]


@pytest.mark.promise(PROMISE)
def test_an_older_file_never_replaces_a_newer_one(db: Path, tmp_path: Path) -> None:
    newer, older = lm_eval(tmp_path / "a", 0.6, 9), lm_eval(tmp_path / "b", 0.4, 3)
    take(newer, db)
    notes = take(older, db)["notes"]
    assert any("is newer; it stays" in note for note in notes)
    assert scores(db) == [("arc", 0, 0.6)]
    again = lm_eval(tmp_path / "c", 0.7, 11)
    notes = take(again, db)["notes"]
    assert any("in place of what results_2026-01-01T09" in note for note in notes), "nothing is replaced in silence"
    assert scores(db) == [("arc", 0, 0.7)]
    assert take(again, db)["loads"] == []


def inspect_log(path: Path, value: float, day: int, samples: int = 100, ids: int = 100, **about: Any) -> Path:
    log = {
        "version": 2, "status": "success",
        "eval": {"task": "arc", "model": "hf/acme-m", "created": f"2026-01-{day:02}T00:00:00+02:00",
                 "dataset": {"samples": samples, "sample_ids": list(range(ids))}, "config": {}, **about},
        "results": {"total_samples": ids, "scores": [{"name": "m", "metrics": {"acc": {"value": value}}}]},
    }  # fmt: skip
    path.write_text(json.dumps(log))
    return path


@pytest.mark.promise(PROMISE)
def test_task_arguments_and_limits_of_inspect_ai(db: Path, tmp_path: Path) -> None:
    size = {"n_params": "1M"}
    take(inspect_log(tmp_path / "a.json", 0.1, 1), db, **size)
    take(inspect_log(tmp_path / "b.json", 0.2, 2, task_args={"fewshot": 5}), db, **size)
    take(inspect_log(tmp_path / "c.json", 0.3, 3, task_args={"subset": "easy"}), db, **size)
    take(inspect_log(tmp_path / "d.json", 0.4, 4, ids=10, config={"limit": 10}), db, **size)
    take(inspect_log(tmp_path / "e.json", 0.5, 5, ids=3, config={"sample_id": [1, 2, 3]}), db, **size)
    take(inspect_log(tmp_path / "f.json", 0.6, 6, config={"limit": 500}), db, **size)
    assert scores(db) == [
        ("arc", 0, 0.6), ("arc", 5, 0.2), ("arc [3 of 100]", 0, 0.5), ("arc [limit=10]", 0, 0.4),
        ("arc [subset=easy]", 0, 0.3),
    ]  # fmt: skip
