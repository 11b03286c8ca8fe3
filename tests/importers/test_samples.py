"""What samples say of each item is in the database, and is what a calculation by hand gives.

`files/samples` was written by lm-evaluation-harness 0.4.13 through make_real.py (`samples`), its base left out;
`truth.json` is what the same model gives by hand, token by token.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from astraios import store
from tests.conftest import run_cli
from tests.importers.conftest import FILES

COLUMNS = ("n_choices", "answers", "loglikelihood", "answer_bytes", "choice_loglikelihoods", "choice_bytes")


def close(found: Any, told: Any) -> bool:
    """Equal as far as single precision goes."""
    if isinstance(found, list) and isinstance(told, list):
        return len(found) == len(told) and all(map(close, found, told))
    both = isinstance(found, float) and isinstance(told, float)
    return math.isclose(found, told, rel_tol=1e-4) if both else bool(found == told)


def told(db: Path) -> dict[tuple[str, str], dict[str, Any]]:
    rows = store.query(db, f"select task_id, item_id, {', '.join(COLUMNS)} from sample_score").to_dicts()
    return {
        (row["task_id"], row["item_id"]): {
            name: json.loads(row[name]) if isinstance(row[name], str) else row[name] for name in COLUMNS
        }
        for row in rows
    }


def assert_by_hand(source: Path, truth: list[dict[str, Any]], db: Path) -> None:
    result = run_cli("import", source, "--db", db, "--set", "n_params=1M")
    assert result.returncode == 0, result.stderr
    found = told(db)
    assert len(found) == len(truth)
    for row in truth:
        for name in COLUMNS:
            assert close(found[row["task_id"], row["item_id"]][name], row.get(name)), (row["task_id"], name)


def assert_tasks_by_hand(truth: list[dict[str, Any]], db: Path) -> None:
    """Chance, the task's own loss, the probability of the right answer and what was written, of every kind of task."""
    found = {
        (r["task_id"], r["metric"]): r
        for r in store.query(db, "select task_id, metric, value, higher_is_better, chance from final_score").to_dicts()
    }
    kinds, by_task = set(), {}
    for row in truth:
        by_task.setdefault(row["task_id"], []).append(row)
    for task, items in by_task.items():
        own = {metric: row for (name, metric), row in found.items() if name == task}
        likely = [row for row in items if row.get("loglikelihood") is not None]
        offered = [row for row in items if row.get("n_choices")]
        if task == "tiny_page" or not likely:
            assert not [metric for metric in own if metric.startswith("answer_")], "none was asked for"
        else:
            bits = [-row["loglikelihood"] / math.log(2) / row["answer_bytes"] for row in likely]
            assert own["answer_bits_per_byte"]["value"] == pytest.approx(fmean(bits), rel=1e-4)
            assert own["answer_bits_per_byte"]["higher_is_better"] is False
            assert own["answer_bits_per_byte"]["chance"] is None, "less is better: nobody guesses it"
            assert own["answer_probability"]["value"] == pytest.approx(fmean(map(_held, likely)), rel=1e-4)
            kinds.add("multiple choice" if offered else "completion")
        written = [row["exact_match"] for row in items if "exact_match" in row]
        if written:
            assert own["exact_match"]["value"] == fmean(written)
            kinds.add("generation")
        chance = fmean(len(row["answers"]) / row["n_choices"] for row in offered) if offered else 0.0
        for metric, row in own.items():
            assert row["chance"] == (pytest.approx(chance) if row["higher_is_better"] else None), (task, metric)
    assert kinds == {"multiple choice", "completion", "generation"}


def _held(row: dict[str, Any]) -> float:
    """The probability of an item's right answer, among its choices where there are some."""
    if not row.get("choice_loglikelihoods"):
        return math.exp(row["loglikelihood"])
    weights = [math.exp(float(one)) for one in row["choice_loglikelihoods"]]
    return weights[row["answers"][0]] / sum(weights)


@pytest.mark.promise("an import says what the runs really had")
def test_each_answer_is_as_likely_as_the_model_holds_it(tmp_path: Path) -> None:
    folder, db = FILES / "samples", tmp_path / "a.duckdb"
    truth = json.loads((folder / "truth.json").read_text())
    assert_by_hand(folder, truth, db)
    assert_tasks_by_hand(truth, db)


@pytest.mark.promise("an import says what the runs really had")
def test_the_same_samples_by_version_0_4_2(tmp_path: Path) -> None:
    """Its results are one file without a date, its samples lists under the model's arguments; it ran the same model."""
    truth = json.loads((FILES / "samples" / "truth.json").read_text())
    tasks = ("tiny_places", "tiny_texts", "tiny_last", "tiny_write")
    told_there = [row for row in truth if row["task_id"] in tasks]
    assert_by_hand(FILES / "samples_old", told_there, tmp_path / "a.duckdb")


def changed(tmp_path: Path, task: str, change: Any) -> Path:
    """A copy of the recorded results with one task's samples changed row by row."""
    folder = tmp_path / "changed"
    folder.mkdir()
    for path in (FILES / "samples").iterdir():
        text = path.read_text()
        if path.name.startswith(f"samples_{task}_"):
            rows = [change(json.loads(line)) for line in text.splitlines()]
            text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / path.name).write_text(text)
    return folder


def test_old_versions_logged_numbers_and_lists(tmp_path: Path) -> None:
    """Until 0.4.2 log-likelihoods were numbers, requests a list, targets as they are."""

    def older(row: dict[str, Any]) -> dict[str, Any]:
        row["resps"] = [[[float(one[0][0]), one[0][1] == "True"]] for one in row["resps"]]
        row["arguments"] = [list(one.values()) for one in row["arguments"].values()]
        return {**row, "target": int(row["target"])}

    truth = json.loads((FILES / "samples" / "truth.json").read_text())
    assert_by_hand(changed(tmp_path, "tiny_places", older), truth, tmp_path / "a.duckdb")


@pytest.mark.promise("an import says what the runs really had")
def test_right_answers_that_contradict_the_accuracy_are_not_told(tmp_path: Path) -> None:
    """The harness says which items it got right: a target that says otherwise is not the place of a choice."""

    def moved(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "target": str((int(row["target"]) + 1) % len(row["resps"]))}

    folder, db = changed(tmp_path, "tiny_places", moved), tmp_path / "a.duckdb"
    result = run_cli("import", folder, "--db", db, "--set", "n_params=1M")
    assert "samples of tiny_places, which choice is right: the log does not say it" in result.stdout + result.stderr
    found = [row for (task, _), row in told(db).items() if task == "tiny_places"]
    assert [row["n_choices"] for row in found] == [2, 3, 4, 2, 3]
    assert all(row["answers"] is None and row["loglikelihood"] is None for row in found)


def test_a_log_likelihood_without_end_is_kept(tmp_path: Path) -> None:
    def impossible(row: dict[str, Any]) -> dict[str, Any]:
        wrong = next(place for place in range(len(row["resps"])) if place != int(row["target"]))
        row["resps"][wrong] = [["-inf", "False"]]
        best = max(range(len(row["resps"])), key=lambda place: float(row["resps"][place][0][0]))
        return {**row, "acc": float(best == int(row["target"])), "wrong": wrong}

    folder, db = changed(tmp_path, "tiny_places", impossible), tmp_path / "a.duckdb"
    assert run_cli("import", folder, "--db", db, "--set", "n_params=1M").returncode == 0
    sql = "select list_min(choice_loglikelihoods::double[]) from sample_score where task_id = 'tiny_places'"
    assert store.query(db, sql).rows() == [(-math.inf,)] * 5


def test_choices_of_inspect_ai(tmp_path: Path) -> None:
    """Targets name choices by letters; a question without choices has none."""
    rows = [
        {"id": 1, "epoch": 1, "input": "?", "choices": ["one", "é"], "target": "B",
         "scores": {"choice": {"value": "C"}}},
        {"id": 2, "epoch": 1, "input": "?", "choices": ["a", "b", "c"], "target": ["A", "C"],
         "scores": {"choice": {"value": "I"}}},
        {"id": 3, "epoch": 1, "input": "?", "choices": None, "target": "four", "scores": {"choice": {"value": "I"}}},
    ]  # fmt: skip
    log = {
        "version": 2, "status": "success",
        "eval": {"task": "pick", "model": "hf/tiny", "task_args": {"fewshot": 5}},
        "results": {"total_samples": 3,
                    "scores": [{"name": "choice", "scorer": "choice", "metrics": {"accuracy": {"value": 1 / 3}}}]},
        "samples": rows,
    }  # fmt: skip
    source, db = tmp_path / "log.json", tmp_path / "a.duckdb"
    source.write_text(json.dumps(log))
    result = run_cli("import", source, "--db", db, "--set", "n_params=1M")
    assert result.returncode == 0, result.stderr
    sql = "select n_shot, n_choices, answers::varchar, choice_bytes::varchar from sample_score order by item_id"
    assert store.query(db, sql).rows() == [
        (5, 2, "[1]", "[3, 2]"),
        (5, 3, "[0, 2]", "[1, 1, 1]"),
        (5, None, None, None),
    ]
