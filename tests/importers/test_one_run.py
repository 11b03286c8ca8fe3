"""One run is one run, however often and by whichever tool it arrives; and an import can be taken back."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from tests.conftest import assert_one_line, run_cli
from tests.importers.conftest import content

SIZED = ("--set", "n_params=1M")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


def imported(db: Path, *arguments: object) -> dict[str, Any]:
    result = run_cli("import", *arguments, "--db", db, "--json")
    assert result.returncode == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(store.query(db, sql).rows())


def state(folder: Path, losses: list[float], rate: float = 1e-3) -> Path:
    """An output directory of the Trainer with a test loss every tenth step."""
    folder.mkdir(parents=True)
    log = [{"step": 10 * place, "eval_loss": loss, "learning_rate": rate} for place, loss in enumerate(losses, 1)]
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 10 * len(losses), "log_history": log}))
    return folder


def test_a_run_that_has_gone_on_is_the_same_and_an_earlier_part_changes_nothing(db: Path, tmp_path: Path) -> None:
    imported(db, state(tmp_path / "one" / "run", [4.0, 3.5, 3.25]), *SIZED)
    imported(db, state(tmp_path / "two" / "run", [4.0, 3.5, 3.25, 3.125]), *SIZED)
    assert rows(db, "select count(*), max(last_loss) from loss_summary") == [(1, 3.125)]
    told = imported(db, tmp_path / "one" / "run", *SIZED)
    assert "further along" in " ".join(told["notes"])
    assert rows(db, "select count(*), max(last_step) from loss_summary") == [(1, 40)]


def test_a_run_with_the_same_beginning_that_goes_on_otherwise_is_another(db: Path, tmp_path: Path) -> None:
    for name, end in (("a", 3.0), ("b", 3.1)):
        imported(db, state(tmp_path / name, [4.0, 3.5, end]), *SIZED)
    assert rows(db, "select count(*) from run") == [(2,)]


def test_two_tables_that_name_the_same_runs(db: Path, tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("run,n_params,step,loss\na,1e6,1,4\na,1e6,2,3\nb,1e6,1,4.5\nb,1e6,2,3.5\n")
    (tmp_path / "scores.csv").write_text("run,n_params,task,metric,value\na,1e6,t,acc,0.5\nb,1e6,t,acc,0.25\n")
    for name in ("losses.csv", "scores.csv", "losses.csv"):
        imported(db, tmp_path / name)
    assert rows(db, "select last_loss, value from loss_summary join score using (run_id) order by 1") == [
        (3.0, 0.5), (3.5, 0.25),
    ]  # fmt: skip


def test_a_table_exported_again_with_one_more_column(db: Path, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("method,n_params,loss\nlora,1e6,3.912\nia3,1e6,4.031\n")
    imported(db, path)
    path.write_text("method,n_params,loss,note\nlora,1e6,3.912,x\nia3,1e6,4.031,y\n")
    imported(db, path)
    assert rows(db, "select count(*) from run") == [(2,)]


def test_the_same_names_in_an_unrelated_table_never_replace(db: Path, tmp_path: Path) -> None:
    (tmp_path / "first.csv").write_text("run,n_params,step,loss\n1,1e6,1,4\n1,1e6,2,3\n")
    (tmp_path / "second.csv").write_text("run,n_params,step,loss\n1,1e6,1,8\n2,1e6,1,9\n")
    imported(db, tmp_path / "first.csv")
    told = imported(db, tmp_path / "second.csv")
    assert "with other losses" in told["skipped"]["1"]
    assert sorted(rows(db, "select last_loss from loss_summary")) == [(3.0,), (9.0,)]


def test_a_run_by_the_users_word(db: Path, tmp_path: Path) -> None:
    imported(db, state(tmp_path / "one", [4.0, 3.5]), *SIZED)
    run = rows(db, "select run_id from run")[0][0]
    imported(db, state(tmp_path / "two", [4.0, 3.25]), "--same-as", run[:12])
    imported(db, tmp_path / "two", *SIZED)
    assert rows(db, "select run_id from run") == [(run,)]


def test_facts_run_by_run(db: Path, tmp_path: Path) -> None:
    for name, loss in (("lora-1", 3.5), ("full-1", 3.25), ("deep/lora-2", 3.75)):
        state(tmp_path / "runs" / name, [4.0, loss])
    (tmp_path / "facts.csv").write_text("name,size,method\nlora-1,1M,lora\nfull-1,2M,full\nlora-2,4M,lora\n")
    imported(db, tmp_path / "runs", "--facts", tmp_path / "facts.csv")
    found = rows(db, "select n_params, method_id from run order by 1")
    assert found == [(10**6, "lora"), (2 * 10**6, "fft"), (4 * 10**6, "lora")]
    (tmp_path / "rules.toml").write_text('["*lora-*"]\nmethod = "dora"\n["*"]\nsize = "3M"\n')
    imported(db, tmp_path / "runs", "--facts", tmp_path / "rules.toml")
    found = rows(db, "select n_params, method_id from run order by 2")
    assert found == [(3 * 10**6, "dora"), (3 * 10**6, "dora"), (3 * 10**6, "fft")]
    assert_one_line(
        run_cli("import", tmp_path / "runs", "--facts", tmp_path / "none.csv", "--db", db), 1, "none.csv: can't be read"
    )


def test_an_import_is_taken_back(db: Path, tmp_path: Path) -> None:
    imported(db, state(tmp_path / "one", [4.0, 3.5]), *SIZED)
    before = content(db)
    load = imported(db, state(tmp_path / "later" / "one", [4.0, 3.5, 3.25]), *SIZED)["loads"]
    other = imported(db, state(tmp_path / "two", [5.0, 4.5]), "--set", "n_params=2M")["loads"]
    assert run_cli("import", "--undo", other[0], "--db", db).returncode == 0
    assert_one_line(run_cli("import", "--undo", "1", "--db", db), 2, "import 2 changed the same runs: undo that one")
    assert run_cli("import", "--undo", load[0], "--db", db).returncode == 0
    assert content(db) == before
    assert_one_line(run_cli("import", "--undo", "9", "--db", db), 2, "has no such import; it has: 1")
    assert run_cli("import", "--undo", "1", "--db", db).returncode == 0
    assert {name: found for name, found in content(db).items() if found} == {}
    assert store.failed_checks(db) == {}


def test_several_sources_and_patterns(db: Path, tmp_path: Path) -> None:
    for name, loss in (("a1", 3.5), ("a2", 3.25), ("b1", 3.75)):
        state(tmp_path / name, [4.0, loss])
    imported(db, tmp_path / "a*", tmp_path / "b1", *SIZED)
    assert rows(db, "select count(*) from run") == [(3,)]
    assert_one_line(run_cli("import", tmp_path / "c*", "--db", db), 2, "no file or folder is called")


def test_every_format_of_a_folder(db: Path, tmp_path: Path) -> None:
    state(tmp_path / "all" / "run", [4.0, 3.5])
    shutil.copytree(Path(__file__).parent / "files" / "wandb", tmp_path / "all" / "wandb")
    assert imported(db, tmp_path / "all", *SIZED)["rows"]["run"] == 1
    assert imported(db, tmp_path / "all", "--recursive", *SIZED)["rows"]["run"] == 2
    assert rows(db, "select count(*) from run") == [(3,)]


@pytest.mark.promise("one bad item never refuses its siblings")
def test_exit_codes_of_what_is_bad(db: Path, tmp_path: Path) -> None:
    good, bad = state(tmp_path / "runs" / "good", [4.0, 3.5]), state(tmp_path / "runs" / "bad", [4.0])
    (bad / "trainer_state.json").write_text('{"global_step": 5, "log_history": [{"step": 5, "epoch": 1.0}]}')
    told = imported(db, tmp_path / "runs", *SIZED)
    assert "log_history holds no loss" in told["skipped"]["bad"]
    assert_one_line(run_cli("import", tmp_path / "runs", "--db", db, "--strict", *SIZED), 1, "holds no loss")
    assert_one_line(run_cli("import", bad, "--db", db, *SIZED), 1, "holds no loss")
    assert rows(db, "select settings->>'$.name' from run") == [(good.name,)]


@pytest.mark.promise("files of strangers do no harm")
def test_links_that_lead_out_pipes_and_bombs(db: Path, tmp_path: Path) -> None:
    outside = state(tmp_path / "outside", [4.0, 1.0])
    inside = state(tmp_path / "inside" / "run", [4.0, 3.5]).parent
    (inside / "link").mkdir()
    (inside / "link" / "trainer_state.json").symlink_to(outside / "trainer_state.json")
    (inside / "dir").symlink_to(outside)
    (inside / "pipe").mkdir()
    os.mkfifo(inside / "pipe" / "trainer_state.json")
    imported(db, inside, *SIZED)
    assert rows(db, "select last_loss from loss_summary") == [(3.5,)]
    assert run_cli("import", inside / "pipe" / "trainer_state.json", "--db", db, *SIZED).returncode == 1
    with gzip.open(tmp_path / "bomb.csv.gz", "wb") as packed:
        packed.write(b"run,loss\n")
        for _ in range(200):
            packed.write(b"0" * (1 << 20))
    assert_one_line(run_cli("import", tmp_path / "bomb.csv.gz", "--db", db), 1, "unpack to more than")
    (tmp_path / "wide.jsonl").write_text(json.dumps({f"c{place}": 1 for place in range(20_000)}))
    assert_one_line(run_cli("import", tmp_path / "wide.jsonl", "--db", db), 1, "20,000 columns")
    config = {"model_type": "llama", "num_hidden_layers": 10**9, "hidden_size": 8, "vocab_size": 10}
    (inside / "run" / "config.json").write_text(json.dumps(config))
    imported(db, inside / "run", *SIZED)


def test_an_index_can_not_name_files_elsewhere(db: Path, tmp_path: Path) -> None:
    folder = state(tmp_path / "run", [4.0, 3.5])
    (folder / "config.json").write_text("{}")
    index = {"weight_map": {"a": "../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_one_line(run_cli("import", folder, "--db", db, *SIZED), 1, "is not in the folder")


def test_semicolons_decimal_commas_spaces_and_a_byte_order_mark(db: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("run; n_params ;step;eval_loss\na;1000000;1;3,5\n")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"run": "b", "n_params": 1000000, "step": 1, "loss": 3.25}\n')
    (tmp_path / "c.jsonl").write_text('{"run": "c\\ud800", "n_params": 1000000, "step": 1, "loss": 3.0}\n')
    for name in ("a.csv", "b.jsonl", "c.jsonl"):
        imported(db, tmp_path / name)
    assert sorted(rows(db, "select last_loss from loss_summary")) == [(3.0,), (3.25,), (3.5,)]
