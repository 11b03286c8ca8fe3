"""`[train] micro_batch = "auto"`: as many blocks in one forward pass as the plan of memory holds on the device."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from astraios import store  # noqa: E402
from astraios.collect.cell import training  # noqa: E402
from astraios.collect.cell.run import run_cell  # noqa: E402
from astraios.collect.plan.facts import FILLED, facts_of  # noqa: E402
from astraios.collect.plan.sweep import Cell, Sweep  # noqa: E402
from astraios.collect.schema import sweep_schema  # noqa: E402
from astraios.errors import UsageError  # noqa: E402
from astraios.runs.directory import RunDirectory  # noqa: E402
from astraios.train.checkpoint import Checkpoint  # noqa: E402
from tests.conftest import sweep_toml  # noqa: E402

PROMISE = "a device is given as many blocks at once as it is planned to hold, and the run says how many"


def sweep_of(models: list[str], pairs: Path, blocks: Any, memory: float | None = None, changes: str = "") -> Sweep:
    text = sweep_toml(models[:1], pairs, methods=["lora"], tasks=[]) + "dropout = 0.0\n"  # masks differ by blocks
    text = text.replace("batch_size = 2\nmicro_batch = 2", f"batch_size = 12\nmicro_batch = {json.dumps(blocks)}")
    text = text.replace("[train]", f"[train]\n{changes}")
    return Sweep.from_toml(
        text.replace("[compute]", f"[compute]\ndevice_memory_gb = {memory}") if memory else text, "x"
    )


def planned(cell: Cell, blocks: int) -> float:
    spec = dataclasses.replace(cell.train, micro_batch=blocks)
    memory = facts_of(cell.base, cell.method_id, cell.settings, spec, cell.data.sequence_length, "cpu").memory
    return memory.total / 1e9


@pytest.mark.promise(PROMISE)
def test_it_is_the_largest_share_of_the_batch_that_fits(small_models: list[str], pairs_file: Path) -> None:
    [cell] = sweep_of(small_models, pairs_file, "auto").cells()
    for blocks, more in ((2, 3), (3, 4), (4, 6), (6, 12)):
        fits = planned(cell, blocks) / FILLED
        assert fits < planned(cell, more) / FILLED
        assert training.micro_batch(cell, "cpu", fits * 1.000001) == blocks
        assert training.micro_batch(cell, "cpu", fits * 0.999999) < blocks
    assert training.micro_batch(cell, "cpu", 1000) == 12
    assert training.micro_batch(cell, "cpu", 1e-6) == 1
    assert training.micro_batch(cell, "cpu", None) == 1, "cells share a CPU's memory"
    [shared] = sweep_of(small_models, pairs_file, "auto", None, "processes = 4\n").cells()
    assert training.micro_batch(shared, "cpu", 1000) == 3, "each process has its part of the batch"
    [fixed] = sweep_of(small_models, pairs_file, 4).cells()
    assert training.micro_batch(fixed, "cpu", 1000) == 4


@pytest.mark.promise(PROMISE)
def test_a_gpu_is_asked_what_it_has(small_models: list[str], pairs_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [cell] = sweep_of(small_models, pairs_file, "auto").cells()
    monkeypatch.setattr(training, "_least_memory", lambda: 80e9)
    assert training.micro_batch(cell, "cuda", None) == 12
    monkeypatch.setattr(training, "_least_memory", lambda: 1e9)
    assert training.micro_batch(cell, "cuda", 80) == 12, "what the sweep says goes before"


@pytest.mark.promise(PROMISE)
def test_what_was_asked_is_what_a_run_is_known_by_and_what_came_is_recorded(
    small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    sweep = sweep_of(small_models, pairs_file, "auto", 100)
    [cell] = sweep.cells()
    ids = {sweep_of(small_models, pairs_file, blocks, memory).cells()[0].run_id
           for blocks, memory in (("auto", None), ("auto", 1), ("auto", 100))}  # fmt: skip
    assert ids == {cell.run_id}, "the device is no part of it"
    assert Cell.from_json(cell.to_json()).run_id == cell.run_id
    same = sweep_of(small_models, pairs_file, 12)
    assert same.cells()[0].run_id != cell.run_id
    for one in (sweep, same):
        run_cell(one.cells()[0], one.to_json(), tmp_path / "runs", device="cpu")
    auto, fixed = (RunDirectory(tmp_path / "runs" / one.cells()[0].run_id) for one in (sweep, same))
    assert auto.losses() == fixed.losses()
    store.ingest(tmp_path / "a.duckdb", tmp_path / "runs")
    asked = "select run.settings ->> '$.train.micro_batch', micro_batch from attempt join run using (run_id) order by 1"
    assert store.query(tmp_path / "a.duckdb", asked).rows() == [("12", 12), ("auto", 12)]


@pytest.mark.promise(PROMISE)
@pytest.mark.parametrize(("later", "goes_on_with"), [(100.0, 2), (1e-6, 1)])
def test_a_resumed_run_goes_on_with_the_blocks_that_it_began_with(
    later: float, goes_on_with: int, small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    """On a larger device the same numbers to the bit; on one that holds fewer, fewer."""
    [cell] = sweep_of(small_models, pairs_file, "auto").cells()
    first = sweep_of(small_models, pairs_file, "auto", planned(cell, 2) / FILLED * 1.000001)
    run_cell(cell, first.to_json(), tmp_path / "whole", device="cpu")
    whole = RunDirectory(tmp_path / "whole" / cell.run_id)
    assert whole.attempts()[-1]["micro_batch"] == 2

    class Killed(BaseException):
        pass

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == 4:
            raise Killed

    with pytest.raises(Killed):
        run_cell(cell, first.to_json(), tmp_path / "halves", kill, device="cpu")
    halves = RunDirectory(tmp_path / "halves" / cell.run_id)
    state = Checkpoint(halves.checkpoint_path).load()
    assert state is not None
    assert state.micro_batch == 2
    rest = sweep_of(small_models, pairs_file, "auto", later)
    run_cell(cell, rest.to_json(), tmp_path / "halves", device="cpu")
    assert halves.attempts()[-1]["micro_batch"] == goes_on_with
    if goes_on_with == 2:
        assert halves.losses() == whole.losses()
    else:
        got, want = ([point.loss_nats for point in one.losses()] for one in (halves, whole))
        assert got == pytest.approx(want, rel=1e-4)


@pytest.mark.promise(PROMISE)
@pytest.mark.slow
def test_processes_agree_on_the_first_ones_blocks(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    found = {}
    for blocks in ("auto", 6):
        sweep = sweep_of(small_models, pairs_file, blocks, 100, "processes = 2\n")
        [cell] = sweep.cells()
        run_cell(cell, sweep.to_json(), tmp_path, device="cpu")
        found[blocks] = RunDirectory(tmp_path / cell.run_id)
    assert found["auto"].attempts()[-1]["micro_batch"] == 6
    assert found["auto"].losses() == found[6].losses()


def test_it_is_a_number_or_that_word(small_models: list[str], pairs_file: Path) -> None:
    with pytest.raises(UsageError, match=r"micro_batch = 'all': must be of type int or 'auto'"):
        sweep_of(small_models, pairs_file, "all")
    with pytest.raises(UsageError, match=r"micro_batch = 5"):
        sweep_of(small_models, pairs_file, 5)
    with pytest.raises(UsageError, match=r"batch_size = 12 is no multiple of micro_batch = auto x processes = 5"):
        sweep_of(small_models, pairs_file, "auto", None, "processes = 5\n")
    axis = sweep_of(small_models, pairs_file, [1, "auto"])
    assert [cell.train.micro_batch for cell in axis.cells()] == [1, "auto"]
    one, _ = sweep_schema()["properties"]["train"]["properties"]["micro_batch"]["anyOf"]
    assert one["anyOf"] == [{"type": "integer", "minimum": 1}, {"enum": ["auto"]}]
