"""A mean score is over tasks that somebody chose, and a score points the way that its metric does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from astraios import store, workflow
from astraios.evaluate.composite import BUILT_IN
from astraios.evaluate.tasks import TASKS
from astraios.store.rows import arrow_table, merge
from tests.conftest import assert_one_line, run_cli
from tests.store.made import make_run

PAPERS = [
    "bigclonebench", "devign", "humanevalexplain-java", "humanevalexplain-python", "humanevalfix-java",
    "humanevalfix-python", "humanevalsynthesize-java", "humanevalsynthesize-python",
]  # fmt: skip


def scores(db: Path, ladder: str, values: dict[str, float]) -> None:
    """A run on a ladder with a score of the main metric of each task."""
    with store.writing(db) as connection:
        connection.execute(f"insert into base_model (model_id, ladder, n_params) values ('{ladder}/a', '{ladder}', 9)")
        connection.execute(
            "insert into run (run_id, origin, model_id, method_id, seed, n_params, n_trainable) "
            f"values ('{ladder}', 'measured', '{ladder}/a', 'lora', 0, 9, 3)"
        )
        connection.execute(f"insert into attempt (run_id, attempt, state) values ('{ladder}', 1, 'done')")
        for task, value in values.items():
            merge(connection, "task", arrow_table([TASKS.get(task).describe()]))
            connection.execute(
                "insert into score (run_id, attempt, task_id, n_shot, metric, value) values (?, 1, ?, 0, ?, ?)",
                [ladder, task, TASKS.get(task).metric, value],
            )


def means(db: Path) -> dict[str, tuple[float, int]]:
    rows = store.query(db, "select ladder, mean_score, n_tasks from mean_task_score where is_main").rows()
    return {ladder: (value, n) for ladder, value, n in rows}


def test_two_means_are_there_from_the_start(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "runs")
    rows = store.query(db, "from composite order by name, task_id").rows()
    assert rows[:8] == [("astraios", task, None, 1.0, None) for task in PAPERS]
    assert rows[8:] == [("tiny", task, None, 1.0, "tiny") for task in ("line-order", "mutant", "next-token")]


def test_the_means_of_any_ladder_are_over_its_own_tasks_or_the_papers(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    three = {"next-token": 0.3, "mutant": 0.6, "line-order": 0.9}
    scores(db, "tiny", {**three, "perplexity": 9.0, "devign": 0.1})
    scores(db, "theirs", {**three, "devign": 0.5, "bigclonebench": 0.7, "perplexity": 9.0})
    assert means(db) == {"tiny": (pytest.approx(0.6), 3), "theirs": (pytest.approx(0.6), 2)}


def test_a_mean_of_ones_own_takes_the_place_of_the_papers(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    scores(db, "theirs", {"devign": 0.5, "mutant": 0.9, "bigclonebench": 0.1})
    with store.writing(db) as connection:
        connection.execute("""insert into composite values
            ('mine', 'devign', 'accuracy', 3, 'theirs'), ('mine', 'mutant', null, 1, 'theirs')""")
    assert means(db) == {"theirs": (pytest.approx((3 * 0.5 + 0.9) / 4), 2)}


def test_rebuilding_and_exporting_keep_what_was_chosen(tmp_path: Path) -> None:
    db, out = tmp_path / "a.duckdb", tmp_path / "runs"
    make_run(out, "run0")
    store.ingest(db, out)
    with store.writing(db) as connection:
        connection.execute("insert into composite values ('mine', 't', null, 1, 'theirs')")
    wanted = store.query(db, "from composite order by all").rows()
    assert store.rebuild(db, out).carried == {}
    assert store.query(db, "from composite order by all").rows() == wanted
    store.export(db, tmp_path / "export", "csv")
    workflow.import_results(tmp_path / "b.duckdb", str(tmp_path / "export"), workflow.ImportRequest())
    assert store.query(tmp_path / "b.duckdb", "from composite order by all").rows() == wanted
    assert store.differences(db, tmp_path / "b.duckdb") == {}


@pytest.mark.parametrize("first", ["paper", "own"])
def test_published_and_own_scores_of_one_task_point_their_own_ways(first: str, tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    for what in (first, {"paper": "own", "own": "paper"}[first]):
        if what == "paper":
            workflow.import_results(db, "paper", workflow.ImportRequest())
        else:
            scores(db, "theirs", {"aatk": 0.8})
    rows = store.query(
        db,
        "select distinct task_id, metric, higher_is_better, is_main_metric from final_score "
        "where task_id in ('aatk', 'recode-format') order by all",
    ).rows()
    assert rows == [
        ("aatk", "insecure", False, False),
        ("aatk", "valid", True, True),
        ("recode-format", "robust_change@1", False, False),
        ("recode-format", "robust_pass@1", True, True),
    ]
    assert store.query(db, "select title from task where task_id = 'aatk'").item() == "Asleep at the Keyboard"


def test_a_database_whose_task_was_turned_round_is_mended(tmp_path: Path) -> None:
    """As it was after `import paper` up to schema 0005."""
    import duckdb

    from astraios.store import schema

    db = tmp_path / "a.duckdb"
    with duckdb.connect() as connection:
        connection.execute(f"attach '{db}' as old (storage_version 'v1.2.0')")
        connection.execute("use old")
        connection.execute("create table schema_migration (name varchar not null, hash varchar, applied_at timestamp)")
        for name, sql in schema.sql_files("migrations").items():
            if name < "0006":
                connection.execute(sql)
                connection.execute("insert into schema_migration values (?, '', now()::timestamp)", [name])
        connection.execute("comment on table schema_migration is 'Migrations had; views of-that-time'")
        connection.execute(
            "insert into task (task_id, title, kind, metric, ceiling, higher_is_better, citation) values "
            "('aatk', 'Asleep at the Keyboard', 'security', 'insecure', 1, false, 'Zhuo et al., 2024')"
        )
    store.ingest(db, tmp_path / "runs")
    [row] = store.query(db, "from task").to_dicts()
    described = vars(TASKS.get("aatk").describe())
    assert row | {"lower_is_better": None} == described | {"lower_is_better": None}
    assert row["lower_is_better"] == '["insecure", "insecure_fallback", "insecure_sarif"]'


def test_a_user_chooses_lists_and_removes_means(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    three = {"next-token": 0.3, "mutant": 0.6, "line-order": 0.9}
    scores(db, "tiny", three)
    scores(db, "theirs", three)

    def composite(*words: str) -> list[dict[str, object]]:
        result = run_cli("composite", *words, "--db", db, "--json")
        assert result.returncode == 0, result.stderr
        return list(json.loads(result.stdout))

    built_in = composite()
    assert {row["name"] for row in built_in} == set(BUILT_IN)
    assert means(db) == {"tiny": (pytest.approx(0.6), 3)}
    added = composite("mine", "next-token=3", f"mutant:{TASKS.get('mutant').metric}")
    assert [(r["task_id"], r["weight"], r["study"]) for r in added] == [
        ("next-token", 3.0, None),
        ("mutant", 1.0, None),
    ]
    mine = pytest.approx((3 * 0.3 + 0.6) / 4)
    assert means(db) == {"tiny": (mine, 2), "theirs": (mine, 2)}
    composite("own", "line-order", "--study", "tiny")
    assert means(db) == {"tiny": (pytest.approx(0.9), 1), "theirs": (mine, 2)}
    rows = store.query(db, "select ladder, composite, is_main from mean_task_score order by all").rows()
    assert rows == [("theirs", "mine", True), ("tiny", "mine", False), ("tiny", "own", True), ("tiny", "tiny", False)]
    composite("own", "mutant", "--study", "tiny")
    assert means(db)["tiny"] == (pytest.approx(0.6), 1), "the same name and study is replaced"
    composite("own", "--study", "tiny", "--remove")
    composite("mine", "--remove")
    assert composite() == built_in


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mine"], "has no task"),
        (["tiny", "mutant"], "comes with astraios"),
        (["mine", "mutnat"], "did you mean 'mutant'"),
        (["mine", "mutant:speed"], "no metric 'speed'"),
        (["mine", "mutant=x"], "weight must be a number above 0"),
        (["mine", "mutant", "mutant=2"], "names the same task twice"),
        (["mine", "perplexity"], "less is better"),
        (["mine", "mutant", "--study", "tniy"], "did you mean 'tiny'"),
        (["mine", "--remove"], "no composite 'mine'"),
    ],
)
def test_a_mean_that_makes_no_sense_is_one_line(words: list[str], says: str, tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    scores(db, "tiny", {"mutant": 0.6, "perplexity": 9.0})
    assert_one_line(run_cli("composite", *words, "--db", db), 2, says)
    assert len(store.query(db, "from composite")) == 11
