"""What a sweep will take, what can't fit, and how it stands: also for ten thousand cells."""

from __future__ import annotations

import datetime
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from astraios.collect.plan.cell_plan import Plan
from astraios.collect.plan.compute import ComputeSpec
from astraios.collect.plan.cost import estimate, refuse_misfits, totals
from astraios.collect.plan.sweep import Sweep
from astraios.files import exclusive
from astraios.records import LossPoint, ParameterCount
from astraios.runs.directory import RunDirectory
from astraios.runs.rows import Ending
from astraios.runs.status import Standing, standings, summary
from astraios.train.loop import TrainSpec
from astraios.train.memory import training_memory
from tests.conftest import REPOSITORY, assert_one_line, run_cli, sweep_toml

pytest.importorskip("torch")


def test_a_plan_says_what_it_will_take(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    text = sweep_toml(small_models[:2], pairs_file)
    given = "[compute]\nflops_per_second = 1e9\nprice_per_device_hour = 3.0"
    path.write_text(text.replace("[compute]", given))
    result = run_cli("collect", path, "--dry-run", "--json", "--db", tmp_path / "none.duckdb")
    rows = json.loads(result.stdout)
    for row in rows:
        assert row["device_hours"] == pytest.approx(row["train_flops"] / 1e9 / 3600)
        assert row["price"] == pytest.approx(3 * row["device_hours"])
        assert row["memory_bytes"] > 16 * row["n_trainable"]
        assert row["problem"] is None
    people = run_cli("collect", path, "--dry-run", "--db", tmp_path / "none.duckdb").stderr
    assert "as [compute] flops_per_second says" in people
    assert f"price {sum(row['price'] for row in rows):,.2f}" in people
    path.write_text(text)
    blind = run_cli("collect", path, "--dry-run", "--db", tmp_path / "none.duckdb")
    assert "device-hours of training: - (throughput: unknown: set [compute] flops_per_second" in blind.stderr


def test_what_was_measured_is_what_is_expected(pair: str, collected: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(pair.replace("steps = 6", "steps = 60"))
    db = collected.parent / "t.duckdb"
    rows = json.loads(run_cli("collect", path, "--dry-run", "--json", "--db", db).stdout)
    from astraios import store

    rates = store.query(db, "select median(train_flops / device_seconds) as r from run join attempt using (run_id)")
    for row in rows:
        assert row["device_hours"] == pytest.approx(row["train_flops"] / rates["r"][0] / 3600)


def test_what_does_not_fit_is_refused_before_it_starts(pair: str, tmp_path: Path) -> None:
    path, out = tmp_path / "s.toml", tmp_path / "runs"
    path.write_text(pair.replace("[compute]", "[compute]\ndevice_memory_gb = 0.1"))
    assert_one_line(
        run_cli("collect", path, "--out", out, "--db", tmp_path / "a.duckdb"),
        2,
        r"needs about 0.6\d* GB \(weights .*\), and a device has 0.1 GB: set \[train\] gradient_checkpointing",
    )
    assert not out.exists(), "nothing was started"


def test_only_what_does_not_fit_is_refused() -> None:
    sweep = Sweep.from_toml('name = "x"\nmodels = "starcoderbase"\nmethods = ["fft", "lora"]', "x")
    from astraios.collect.plan.cell_plan import describe

    plans = refuse_misfits([describe(cell, "cuda") for cell in sweep.cells()], 80e9)
    refused = {(p.cell.model_id.rpartition("-")[2], p.cell.method_id) for p in plans if p.problem}
    # Full fine-tuning of 16 bytes a parameter: 3B takes 48 GB, 7B 112.
    assert {method for _, method in refused} == {"fft"}
    assert len(refused) == 2
    assert not [p for p in refuse_misfits(plans[:1], None) if p.problem]


def test_memory_is_made_of_what_it_should_be() -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model("gpt_bigcode", vocab_size=1000, n_embd=64, n_layer=10, n_head=4)
    count = ParameterCount(1_000_000, 900_000, 1_000_000)
    few = ParameterCount(1_000_000, 900_000, 1_000)

    def total(count: ParameterCount, full: bool, **changes: Any) -> Any:
        spec = TrainSpec(**{"dtype": "float32", "quantization": "none", **changes})
        return training_memory(config, count, spec, full=full, positions=128, device="cpu")

    full, part = total(count, True), total(few, False)
    assert (full.weights, full.training) == (0, 16e6)
    assert (part.weights, part.training) == (4e6, 16e3)
    assert total(few, False, dtype="bfloat16").weights == 2e6
    assert total(few, False, quantization="8bit").weights < 2e6
    assert total(few, False, gradient_checkpointing=True).activations < part.activations / 2
    assert total(few, False, micro_batch=4, batch_size=4).activations == 4 * part.activations
    assert total(count, True, processes=4, fsdp=True).training == 4e6
    assert str(full).startswith(f"{full.total / 1e9:.3g} GB")


def plan_of(pair: str, n_params: int, flops: float) -> Plan:
    return Plan(Sweep.from_toml(pair, "x").cells()[0], ParameterCount(n_params, n_params, n_params), 1, flops)


def test_the_nearest_size_that_was_measured_counts(pair: str) -> None:
    plan = plan_of(pair, 3_000, 7200.0)
    assert estimate(plan, ComputeSpec(), {100: 1.0, 2_500: 2.0, 10**6: 9.0}).device_hours == 1.0
    assert estimate(plan, ComputeSpec(flops_per_second=1.0), {2_500: 2.0}).device_hours == 2.0
    assert estimate(plan, ComputeSpec(price_per_device_hour=5.0), {2_500: 2.0}).price == 5.0
    assert estimate(plan, ComputeSpec(), {}).device_hours is None
    three = [estimate(plan, ComputeSpec(), {1: 2.0})] * 3
    assert totals([plan] * 3, three, ComputeSpec(), {1: 2.0}).device_hours == 3.0


def test_status_tells_running_from_interrupted(pair: str, tmp_path: Path) -> None:
    cells = Sweep.from_toml(pair, "x").cells()
    wanted = {cell.run_id: (cell.model_id, cell.method_id, cell.seed) for cell in cells}
    assert [row.state for row in standings(tmp_path, wanted)] == ["waiting", "waiting"]
    directory = RunDirectory(tmp_path / cells[1].run_id)
    directory.start(cells[1].to_json())
    directory.append_loss(LossPoint("test", 4, 1, 1.0))
    with exclusive(directory.path / "lock", wait=0, what="it"):
        row = standings(tmp_path, wanted)[1]
        assert (row.state, row.step, row.steps, row.attempt) == ("running", 4, 6, 1)
    assert standings(tmp_path, wanted)[1].state == "interrupted"
    (directory.path / "manifest.json").write_text("garbage")
    assert standings(tmp_path)[0].state == "interrupted", "garbage is no manifest"


def test_throughput_and_the_time_left() -> None:
    now = datetime.datetime(2026, 1, 1, 12)

    def moment(minutes: float) -> str:
        return (now - datetime.timedelta(minutes=minutes)).isoformat()

    done = [
        Standing(f"d{i}", "m", "x", i, "done", 10, 10, 1, None, moment(30), moment(10), 100.0) for i in range(4)
    ] + [Standing("old", "m", "x", 9, "done", 10, 10, 1, None, moment(999), moment(900), 100.0)]
    left = [Standing("w", "m", "x", 5), Standing("r", "m", "x", 6, "running", 5, 10, 1)]
    told = summary([*done, *left], {"w": 100.0, "r": 100.0, **{f"d{i}": 100.0 for i in range(4)}}, now)
    assert told.counts == {"waiting": 1, "running": 1, "interrupted": 0, "failed": 0, "done": 5}
    assert told.cells_per_hour == pytest.approx(8.0), "four in the half hour since the first of them was started"
    assert told.hours_left == pytest.approx(1.5 / 8)
    assert summary([*done, *left], {}, now).hours_left == pytest.approx(1.5 / 8), "without costs, by cells"
    assert summary(left, {}, now).hours_left is None
    assert summary(done, {}, now).hours_left == 0.0


def seconds_of(*arguments: object) -> float:
    """Processor seconds of a command: what it takes on a machine that does nothing else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "astraios.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.slow
@pytest.mark.promise("ten thousand cells are planned in seconds")
def test_ten_thousand_cells_take_seconds(tmp_path: Path) -> None:
    from astraios import workflow
    from astraios.collect.run import jobs_for

    path, out = tmp_path / "many.toml", tmp_path / "runs"
    seeds = ", ".join(map(str, range(286)))
    path.write_text(f'extends = "tiny"\nname = "many"\nseeds = [{seeds}]\ntasks = []\n')
    seconds_of("collect", path, "--dry-run", "--json")  # counts each base under each method once, for all seeds
    assert seconds_of("collect", path, "--dry-run", "--json") < 5
    _, plans = workflow.plan(str(path), [])
    assert len(plans) == 10_010
    for plan in plans[::2]:
        directory = RunDirectory(out / plan.cell.run_id)
        attempt, started = directory.start(plan.cell.to_json())
        ending = Ending(attempt=attempt, started_at=started, state="done")
        directory.finish(plan.rows('{"name": "many"}'), ending, {})
    assert seconds_of("status", path, "--out", out, "--json") < 5
    start = time.process_time()
    jobs = [job for job in jobs_for(plans, out) if job.plan]
    assert time.process_time() - start < 5
    assert len(jobs) == 5_005
