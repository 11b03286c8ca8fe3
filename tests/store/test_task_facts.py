"""What guessing scores: from a user, from samples, from the registry of benchmarks, and who said so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from astraios import store
from astraios.evaluate.common_tasks import CHOICE, COMMON_TASKS, common_task, guessing
from tests.conftest import REPOSITORY, assert_one_line, run_cli
from tests.importers.conftest import FILES


def test_the_registry_knows_the_common_benchmarks() -> None:
    assert len(COMMON_TASKS) >= 60
    assert len({task.name for task in COMMON_TASKS}) == len(COMMON_TASKS)
    assert all(task.citation for task in COMMON_TASKS)
    assert all(task is common_task(task.name) for task in COMMON_TASKS), "every task goes by its own name"
    known = {"siqa": 1 / 3, "commonsense_qa": 0.2, "arc_challenge": 0.25, "mmlu_anatomy": 0.25, "mmlu_pro": 0.1,
             "boolq [limit=10]": 0.5, "Social IQa": 1 / 3, "hellaswag": 0.25}  # fmt: skip
    assert {name: guessing(name, "acc") for name in known} == pytest.approx(known)
    assert guessing("gsm8k", "exact_match,strict-match") == guessing("humaneval", "pass@1") == 0
    assert guessing("hellaswag", "bits_per_byte") is None
    assert guessing("my-task", "acc") is None


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results that lm-evaluation-harness wrote with samples."""
    path = tmp_path_factory.mktemp("tasks") / "a.duckdb"
    done = run_cli("import", FILES / "samples", "--db", path, "--set", "n_params=1M")
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.promise("an import says what the runs really had")
def test_an_import_knows_chance_and_says_where_from(db: Path) -> None:
    """The levels themselves are checked by hand in tests/importers/test_samples.py."""
    tasks = {r["task_id"]: r["chance_from"] for r in store.query(db, "from task").to_dicts()}
    assert {tasks[name] for name in ("tiny_places", "tiny_texts", "tiny_several", "tiny_prompts")} == {"samples"}
    said = {r["metric"]: r for r in json.loads(run_cli("task", "tiny_write", "--db", db, "--json").stdout)}
    assert (said["exact_match"]["chance"], said["exact_match"]["chance_from"]) == (0.0, "task"), "answers are open"


def test_the_chance_of_choosing_is_none_of_an_f1(tmp_path: Path) -> None:
    """One over the choices is what guessing gets of accuracies, not of every metric of the task."""
    folder, path = tmp_path / "samples", tmp_path / "a.duckdb"
    shutil.copytree(FILES / "samples", folder)
    [results] = folder.glob("results_*.json")
    content = json.loads(results.read_text())
    content["results"]["tiny_places"] |= {"f1,none": 0.4, "f1_stderr,none": "N/A"}
    content["higher_is_better"]["tiny_places"] |= {"f1": True}
    results.write_text(json.dumps(content))
    assert run_cli("import", folder, "--db", path, "--set", "n_params=1M").returncode == 0
    sql = "select metric, chance from final_score where task_id = 'tiny_places'"
    chances = dict(store.query(path, sql).rows())
    assert chances["f1"] is None
    assert 0 < chances["acc"] == chances["acc_norm"] == chances["answer_probability"] < 1
    [pattern] = re.findall(r"\(\?i\)\^[^']+", (REPOSITORY / "db" / "views" / "final_score.sql").read_text())
    matched = store.query(
        path, f"select regexp_matches(m, '{pattern}') as yes from (select unnest({list(CHOICE)}) as m)"
    )
    assert matched["yes"].all(), "the view knows every metric of choosing"


def test_the_direction_of_a_metric_is_in_its_name(tmp_path: Path) -> None:
    """A table says no direction: of perplexities and seconds less is better, also beside an accuracy."""
    table, path = tmp_path / "scores.csv", tmp_path / "a.duckdb"
    lines = [f"{size},{metric},{value}" for size in (1e6, 3e6) for metric, value in
             (("accuracy", 0.5), ("perplexity", 8.0), ("seconds", 0.3))]  # fmt: skip
    table.write_text("n_params,metric,value,task\n" + "".join(f"{line},own\n" for line in lines))
    assert run_cli("import", table, "--db", path).returncode == 0
    rows = store.query(path, "select metric, higher_is_better, ceiling from final_score where n_params = 1e6").rows()
    assert {name: better for name, better, _ in rows} == {"accuracy": True, "perplexity": False, "seconds": False}
    assert {ceiling for _, _, ceiling in rows} == {None}, "nobody says it"
    shown = json.loads(run_cli("task", "own", "--db", path, "--json").stdout)
    assert {row["metric"]: row["ceiling"] for row in shown} == {"accuracy": 1.0, "perplexity": None, "seconds": None}


def test_what_a_user_says_goes_first(db: Path) -> None:
    before = {r["metric"]: r for r in json.loads(run_cli("task", "tiny_places", "--db", db, "--json").stdout)}
    assert before["acc"]["chance_from"] == "samples"
    said = run_cli("task", "tiny_places", "--chance", 0.1, "--ceiling", 0.9, "--db", db, "--json")
    assert said.returncode == 0, said.stderr
    after = {r["metric"]: r for r in json.loads(said.stdout)}
    assert (after["acc"]["chance"], after["acc"]["ceiling"], after["acc"]["chance_from"]) == (0.1, 0.9, "user")
    assert after["answer_bits_per_byte"]["chance"] is None, "less is better: nobody guesses it"
    run_cli("task", "tiny_places", "--metric", "acc", "--chance", 0.2, "--db", db)
    rows = store.query(db, "select chance from final_score where task_id = 'tiny_places' and metric = 'acc'")
    assert rows["chance"].unique().to_list() == [0.2]
    back = json.loads(run_cli("task", "tiny_places", "--forget", "--db", db, "--json").stdout)
    assert {r["metric"]: r for r in back}["acc"]["chance"] == before["acc"]["chance"]
    assert store.failed_checks(db) == {}


def test_what_makes_no_sense_is_one_line(db: Path) -> None:
    assert_one_line(run_cli("task", "tiny_placs", "--db", db), 2, "did you mean 'tiny_places'")
    assert_one_line(run_cli("task", "tiny_places", "--chance", 1.5, "--db", db), 2, "not below a ceiling")
    assert_one_line(run_cli("task", "--chance", 0.5, "--db", db), 2, "name it")
    assert_one_line(run_cli("task", "tiny_places", "--metric", "ac", "--chance", 0.1, "--db", db), 2, "no metric 'ac'")
    assert_one_line(run_cli("task", "tiny_places", "--forget", "--db", db), 2, "nothing was said")
