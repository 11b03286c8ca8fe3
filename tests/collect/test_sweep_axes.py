"""Sweeps over any axis: what lists make, what a run's id depends on, and what a dry run says of what exists."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from astraios import store, workflow
from astraios.collect.plan.axes import axes_of, label
from astraios.collect.plan.cell import Cell, decisive_of, run_id_of
from astraios.collect.plan.known import Found, found_in, nearest, with_stored
from astraios.collect.plan.sweep import Sweep
from astraios.errors import DataError, UsageError
from tests.conftest import assert_one_line, run_cli, sweep_toml

TINY = 'extends = "tiny"\nname = "x"\nmodels = ["tiny/66k"]\nmethods = ["fft", "lora"]\ntasks = []\n'
BEFORE = Path(__file__).parent / "runs_of_before"
"""Run directories of the sweep of tests/conftest.py (method lora), made by astraios as it was before ids left out
eval_every; without what was tuned."""


def cells(text: str, only: list[str] | None = None) -> list[Cell]:
    return Sweep.from_toml(text, "x").cells(only or [])


def test_a_list_makes_a_cell_of_each_value() -> None:
    found = cells(
        TINY + "seeds = [0, 1]\n[data]\nn_train_tokens = [1e4, 20000]\n[train]\nsteps = [50, 100]\n"
        "[method.lora]\nrank = [2, 8]\nlearning_rate = [1e-3, 1e-2]\n"
        'target_modules = [["c_attn"], ["c_attn", "c_fc"]]\n'
        'betas = [[0.9, 0.99], [0.9, 0.999]]\nquantization = ["none", "8bit"]\n'
    )
    by_method = {m: [c for c in found if c.method_id == m] for m in ("fft", "lora")}
    assert {m: len(some) for m, some in by_method.items()} == {"fft": 2 * 2 * 2, "lora": 2 * 2 * 2 * 2 * 2 * 2 * 2 * 2}
    assert len({c.run_id for c in found}) == len(found)
    assert {c.data.n_train_tokens for c in found} == {10_000, 20_000}
    assert {c.train.betas for c in by_method["lora"]} == {(0.9, 0.99), (0.9, 0.999)}
    assert {c.train.quantization for c in by_method["lora"]} == {"none", "8bit"}
    assert {c.train.quantization for c in by_method["fft"]} == {"none"}
    assert {json.dumps(c.settings["target_modules"]) for c in by_method["lora"]} == {'["c_attn"]', '["c_attn", "c_fc"]'}
    axes = axes_of(found)
    assert axes["fft"] == ["steps", "n_train_tokens"]
    assert label(by_method["fft"][0], axes) == "tiny/66k fft seed 0 steps 50 n_train_tokens 10000"
    assert {"rank", "learning_rate", "target_modules", "betas"} <= set(axes["lora"])


def test_a_methods_own_table_goes_before_train() -> None:
    text = (
        TINY
        + "[train]\nsteps = [50, 100]\nweight_decay = [0, 0.1]\n"
        + "[method.lora]\nsteps = 20\nmicro_batch = 1\nprocesses = 2\n"
    )
    lora = [c for c in cells(text) if c.method_id == "lora"]
    assert {(c.train.steps, c.train.processes, c.train.weight_decay) for c in lora} == {(20, 2, 0.0), (20, 2, 0.1)}
    assert {c.train.processes for c in cells(text) if c.method_id == "fft"} == {1}
    of_one = text.replace('"tiny/66k"', '"tiny/66k", "tiny/116k"') + '[method.lora."116k"]\nrank = [2, 4]\nsteps = 30\n'
    found = {(c.model_id, c.train.steps, c.settings["rank"]) for c in cells(of_one) if c.method_id == "lora"}
    assert found == {("tiny/66k", 20, 8), ("tiny/116k", 30, 2), ("tiny/116k", 30, 4)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[train]\nsteps = []\n", r"\[train\] steps = \[\]: give a value"),
        ("[train]\nsteps = [50, 50]\n", "names the same value twice"),
        ("[method.lora]\nlearning_rate = [1e-3, 0.001]\n", "names the same value twice"),
        ("[train]\nsteps = [50, 0]\n", r"\[train\] steps = 0: must be at least 1"),
        ("[train]\neval_every = [10, 50]\n", "no number depends on it"),
        ("[train]\nbatch_size = [2, 3]\n", "batch_size = 3 is no multiple of micro_batch = 2"),
        ("[train]\nbetas = [0.9, 0.99, 0.999]\n", "must be a list of 2 numbers"),
        ("[method.lora]\nrank = [4, 0]\n", "rank = 0: must be at least 1"),
        ("[method.lora]\nstpes = 4\n", "no setting 'stpes': did you mean 'steps'"),
        ("[data]\nn_train_tokens = [1e6, 0]\n", "n_train_tokens = 0: must be at least 1"),
        ('[train]\nquantization = ["auto", "none"]\n', "are the same run: a value of a list means"),
        ("[data]\nn_train_tokens = 1.5\n", "must be a whole number"),
        ('[method.lora."66"]\nrank = 2\n', r"\[method.lora.66\] no base model of this sweep; did you mean '66k'"),
        ("axes = {}\n", "unknown field 'axes'"),
        ('[composite.mine]\ntasks = ["mutant=0"]\n', "weight must be a number above 0"),
        ('[composite.mine]\ntasks = ["mutnat"]\n', "did you mean 'mutant'"),
        ('[composite.tiny]\ntasks = ["mutant"]\n', "comes with astraios"),
        ('[composite.mine]\ntask = ["mutant"]\n', "did you mean 'tasks'"),
    ],
)
def test_a_list_that_makes_no_sense_is_one_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        cells(TINY + text)
    assert "\n" not in str(error.value)


def test_filters_are_on_any_axis() -> None:
    text = TINY + "[train]\nsteps = [50, 100]\n[method.lora]\nrank = [2, 8]\n"
    assert len(cells(text)) == 2 + 4
    assert len(cells(text, ["steps=50"])) == 1 + 2
    assert {(c.method_id, c.settings["rank"]) for c in cells(text, ["rank=8"])} == {("lora", 8)}
    assert len(cells(text, ["rank=8", "rank=2", "steps=1e2"])) == 2
    assert len(cells(text, ["quantization=none"])) == 6
    for only, says in (
        ("rnak=8", "did you mean 'rank'"),
        ("rank=x", "'x' is no number"),
        ("rank=3", "no cell of sweep"),
    ):
        with pytest.raises(UsageError, match=says):
            cells(text, [only])


def test_what_changes_no_number_is_no_part_of_a_run(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    text = sweep_toml(small_models[:1], pairs_file)
    [first, *_] = cells(text)
    for every in ("eval_every", "log_every", "checkpoint_every"):
        assert cells(text.replace(f"{every} = 2", f"{every} = 3"))[0].run_id == first.run_id
    assert cells(text.replace("[train]", "[train]\nweight_decay = 0"))[0].run_id == (
        cells(text.replace("[train]", "[train]\nweight_decay = 0.0"))[0].run_id
    )
    assert cells(text.replace("warmup_steps = 1", "warmup_steps = 2"))[0].run_id != first.run_id
    assert first.to_dict()["train"]["eval_every"] == 2, "it is recorded all the same"


def test_the_weights_of_a_local_base_are_part_of_a_run(
    small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_models[0], copy)
    [first, *_], [moved, *_] = (cells(sweep_toml([str(m)], pairs_file)) for m in (small_models[0], copy))
    assert moved.run_id == first.run_id
    with pytest.raises(UsageError, match="hold the same weights"):
        cells(sweep_toml([small_models[0], str(copy)], pairs_file))
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert cells(sweep_toml([str(copy)], pairs_file))[0].run_id != first.run_id


def test_paths_are_relative_to_the_file(
    small_models: list[str], pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cells(sweep_toml(small_models[:1], pairs_file))
    folder = tmp_path / "sweeps"
    shutil.copytree(small_models[0], folder / "base")
    shutil.copy(pairs_file, folder / "pairs.jsonl")
    text = sweep_toml(["base"], Path("pairs.jsonl")) + '[task.devign]\ndata_dir = "gold"\n'
    (folder / "under.toml").write_text(text)
    (tmp_path / "over.toml").write_text('extends = "sweeps/under.toml"\nname = "over"\n')
    monkeypatch.chdir(tmp_path)
    for name in ("sweeps/under.toml", "over.toml", str(tmp_path / "over.toml")):
        sweep = Sweep.read(name)
        assert [c.run_id for c in sweep.cells()] == [c.run_id for c in wanted]
        assert Path(sweep.task["devign"]["data_dir"]).resolve() == folder / "gold"
    monkeypatch.chdir(folder)
    assert [c.run_id for c in Sweep.read("under.toml").cells()] == [c.run_id for c in wanted]
    (folder / "circle.toml").write_text('extends = "circle.toml"\n')
    with pytest.raises(UsageError, match="circle"):
        Sweep.read("circle.toml")


def id_of_before(cell: Cell) -> str:
    """As ids were before they left out what changes no number."""
    content = {k: v for k, v in cell.to_dict().items() if k not in ("sweep", "tasks", "task_options", "weights")}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_ids_of_default_settings_are_what_they_were() -> None:
    plain = [c for c in Sweep.read("astraios").cells() if c.method_id != "fft"]
    assert len(plain) == 24
    assert [c.run_id for c in plain] == [id_of_before(c) for c in plain]
    tiny = Sweep.read("tiny").cells()
    assert all(c.run_id != id_of_before(c) for c in tiny), "tiny evaluates every 50 steps"


def of_before(tmp_path: Path, small_models: list[str], pairs_file: Path) -> Path:
    """A folder as it was left: a base, data, a sweep in a folder of its own, runs, and a database of that time."""
    shutil.copytree(small_models[0], tmp_path / "width-16")
    for file in (tmp_path / "width-16").iterdir():
        os.utime(file, (1.7e9, 1.7e9))
    shutil.copytree(BEFORE, tmp_path / "runs")
    newest = max((Path(__file__).parents[1] / "databases").glob("*.gz"))
    (tmp_path / "old.duckdb").write_bytes(gzip.decompress(newest.read_bytes()))
    (tmp_path / "sweeps").mkdir()
    shutil.copy(pairs_file, tmp_path / "sweeps" / "pairs.jsonl")
    sweep = tmp_path / "sweeps" / "small.toml"
    sweep.write_text(sweep_toml(["../width-16"], Path("pairs.jsonl"), methods=["lora"]))
    return sweep


@pytest.mark.promise("a run of an earlier version counts as done, under the id it has")
def test_runs_of_before_count_as_done_and_keep_their_ids(
    small_models: list[str], pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = of_before(tmp_path, small_models, pairs_file)
    monkeypatch.chdir(tmp_path)
    [cell] = Sweep.read(str(sweep)).cells()
    assert cell.run_id != "c5755e71e495484e"
    [row] = json.loads(run_cli("collect", sweep, "--dry-run", "--json", "--db", "old.duckdb").stdout)
    assert (row["run_id"], row["state"]) == ("c5755e71e495484e", "done")
    result = run_cli("collect", sweep, "--db", "old.duckdb")
    assert "1 cells: 0 run now, 1 done before, 0 failed" in result.stderr, result.stderr
    ids = store.query(tmp_path / "old.duckdb", "select run_id from run order by 1")["run_id"].to_list()
    assert ids == ["31dcb66af5005f1b", "c5755e71e495484e", "run0"]
    again = run_cli("collect", sweep, "--db", "old.duckdb", "--json")
    assert json.loads(again.stdout)["n_done_before"] == 1
    status = json.loads(run_cli("status", sweep, "--json").stdout)
    assert "c5755e71e495484e" in json.dumps(status)
    assert cell.run_id not in json.dumps(status)
    os.utime(tmp_path / "width-16" / "model.safetensors")
    [row] = json.loads(run_cli("collect", sweep, "--dry-run", "--json", "--db", "old.duckdb").stdout)
    assert row["state"] == "new", "the base has changed since, so nobody knows that it is the same"


def test_an_interrupted_run_of_before_goes_on_where_it_is(tmp_path: Path) -> None:
    [cell] = cells(TINY, ["method_id=lora"])
    before = id_of_before(cell)
    content = json.loads(cell.to_json())
    del content["weights"], content["stored_as"], content["data"]["n_train_tokens"]
    (tmp_path / before).mkdir()
    (tmp_path / before / "cell.json").write_text(json.dumps(content))
    from astraios.collect.plan.cell_plan import describe

    [plan] = with_stored([describe(cell)], tmp_path)
    assert plan.cell.run_id == before
    assert Cell.from_json(plan.cell.to_json()).run_id == before, "in another process too"
    assert plan.rows("{}").run.run_id == before
    assert "stored_as" not in plan.cell.to_dict()


def test_a_dry_run_says_what_exists_under_other_settings(tmp_path: Path) -> None:
    sweep, other = tmp_path / "s.toml", tmp_path / "o.toml"
    sweep.write_text(TINY + "[train]\nsteps = [50, 100]\n[method.lora]\nrank = [2, 8]\n")
    other.write_text(TINY + "[train]\nsteps = 200\n[method.lora]\nrank = 2\nlearning_rate = 1e-2\n")
    out = tmp_path / "runs"
    for cell in [*Sweep.read(str(other)).cells(), Sweep.read(str(sweep)).cells()[0]]:
        (out / cell.run_id).mkdir(parents=True)
        (out / cell.run_id / "cell.json").write_text(cell.to_json())
    result = run_cli("collect", sweep, "--dry-run", "--json", "--out", out, "--db", tmp_path / "no.duckdb")
    rows = json.loads(result.stdout)
    assert [row["state"] for row in rows] == ["started", *["new"] * 5]
    differences = [[(d["setting"], d["here"], d["there"]) for d in row["near"]["differences"]] for row in rows[1:]]
    assert differences == [
        [("train.steps", 100, 200)],
        [("train.steps", 50, 200)],
        [("train.steps", 50, 200), ("method.lora.rank", 8, 2)],
        [("train.steps", 100, 200)],
        [("train.steps", 100, 200), ("method.lora.rank", 8, 2)],
    ]
    people = run_cli("collect", sweep, "--dry-run", "--out", out, "--db", tmp_path / "no.duckdb")
    assert "6 cells: 0 done, 1 started, 5 new; 5 of the new ones exist under other settings: " in people.stderr
    assert "2 with train.steps 100 here, 200 there" in people.stderr


def test_ten_thousand_cells_are_compared_with_ten_thousand_runs(tmp_path: Path) -> None:
    ranks, steps = list(range(1, 101)), list(range(1, 101))
    text = TINY.replace('"fft", ', "") + f"[train]\nsteps = {steps}\n[method.lora]\nrank = {ranks}\n"
    start = time.process_time()
    found = cells(text)
    assert len({c.run_id for c in found}) == 10_000
    planned = time.process_time() - start
    for number, cell in enumerate(found):
        folder = tmp_path / f"{number:016d}"
        folder.mkdir()
        (folder / "cell.json").write_text(cell.to_json())
    start = time.process_time()
    there = found_in(tmp_path)
    assert {one.run_id for one in there} == {c.run_id for c in found}
    near = nearest([dataclasses.replace(c, seed=c.seed) for c in found[:5000]], there[5000:])
    assert len(near) == 5000
    assert planned + time.process_time() - start < 20


def test_amounts_of_data_are_nested_and_share_their_test_split(
    small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoTokenizer

    from astraios.collect.cell.training import prepared_data

    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"]).replace(
        "[train]", "n_train_tokens = [1000, 4000]\n[train]"
    )
    tokenizer = AutoTokenizer.from_pretrained(small_models[0])
    (small, little, _), (large, much, _), (whole, all_of_it, _) = (
        prepared_data(cell, tokenizer)
        for cell in [*cells(text), *cells(sweep_toml(small_models[:1], pairs_file, methods=["lora"]))]
    )
    assert (
        (small.train.numel(), large.train.numel())
        == (7 * 128, 31 * 128)
        == (little.n_train_tokens, much.n_train_tokens)
    )
    assert torch.equal(small.train, whole.train[:7])
    assert torch.equal(large.train, whole.train[:31])
    assert torch.equal(small.test, whole.test)
    assert len({little.dataset_id, much.dataset_id, all_of_it.dataset_id}) == 3
    assert little.name == much.name == all_of_it.name
    with pytest.raises(DataError, match="ask for one block at least, and for no more than there is"):
        prepared_data(cells(text.replace("[1000, 4000]", "1e9"))[0], tokenizer)


def test_a_run_of_an_axis_is_asked_for_again_as_it_was(tmp_path: Path) -> None:
    sweep = Sweep.from_toml(
        TINY + "[train]\nsteps = [50, 100]\n[method.lora]\nrank = [2, 8]\nmicro_batch = 1\nprocesses = 2\n", "x"
    )
    for cell in sweep.cells():
        facts: dict[str, Any] = {
            "run": {
                "run_id": cell.run_id, "model_id": cell.model_id, "method_id": cell.method_id, "seed": cell.seed,
                "learning_rate": cell.train.learning_rate, "settings": json.loads(json.dumps(cell.to_dict())),
            },
            "sweep": {"sweep_id": sweep.sweep_id, "settings": json.loads(sweep.to_json())},
            "repeat": "",
        }  # fmt: skip
        [again] = Sweep.from_toml(workflow.sweep_again(facts), "again").cells()
        assert again.run_id == cell.run_id


def test_composites_of_a_sweep_are_for_its_ladder() -> None:
    text = TINY + '[composite.mine]\ntasks = ["mutant", "line-order:accuracy=2"]\n'
    rows = Sweep.from_toml(text, "x").composite_rows()
    assert [(r.name, r.task_id, r.metric, r.weight, r.study) for r in rows] == [
        ("mine", "mutant", None, 1.0, "tiny"),
        ("mine", "line-order", "accuracy", 2.0, "tiny"),
    ]


def test_a_cell_this_astraios_does_not_know_is_no_cell(tmp_path: Path) -> None:
    [cell] = cells(TINY, ["method_id=lora"])
    content = json.loads(cell.to_json())
    assert run_id_of(decisive_of(content)) == cell.run_id
    for change in ({"train": {**content["train"], "novel": 1}}, {"data": {}}, {"settings": None}):
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            decisive_of({**content, **change})
    for name, text in (("garbage", "{"), ("list", "[]"), ("file.txt", None)):
        if text is None:
            (tmp_path / name).write_text("no folder")
        else:
            (tmp_path / name).mkdir()
            (tmp_path / name / "cell.json").write_text(text)
    assert found_in(tmp_path) == []
    assert nearest([cell], [Found("a", cell.decisive)]) == {}


def test_an_unknown_filter_is_one_line(small_sweep: Path) -> None:
    assert_one_line(run_cli("collect", small_sweep, "--dry-run", "--only", "rank"), 2, "write KEY=VALUE")


def test_the_tiny_ladder_over_bases_of_fewer_bits() -> None:
    planned = Sweep.read("bits_tiny").cells()
    assert {c.train.quantization for c in planned} == {"none", "8bit", "nf4"}
    assert len({c.run_id for c in planned}) == 5 * 3 * 2
