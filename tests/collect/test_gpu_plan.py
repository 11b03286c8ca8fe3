"""Plans for GPUs: what fits, what it will take, and what a refusal says to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from astraios.collect.launch import Orders, local
from astraios.collect.plan.cell_plan import describe
from astraios.collect.plan.compute import ComputeSpec
from astraios.collect.plan.cost import ASSUMED, _elapsed, refuse_misfits
from astraios.collect.plan.job import Job
from astraios.collect.plan.sweep import Sweep
from astraios.errors import UsageError
from astraios.runs.place import Place
from tests.conftest import assert_one_line, run_cli

PROMISE = "the GPU path: what a machine without one can show of it"


def sweep_of(method: str = "", train: str = "") -> Sweep:
    head = 'name = "x"\nmodels = ["1B", "7B", "16B"]\nmethods = ["fft", "lora"]\n'
    return Sweep.from_toml(f"{head}[train]\n{train}\n{method}", "x")


@pytest.mark.promise(PROMISE)
def test_the_papers_study_fits_a_machine_of_eight_gpus(tmp_path: Path) -> None:
    asked = ("--dry-run", "--device-memory", 80, "--devices", 8, "--price", 2.5, "--db", tmp_path / "none.duckdb")
    rows = json.loads(run_cli("collect", "astraios", *asked, "--json").stdout)
    assert len(rows) == 28
    assert [row["problem"] for row in rows] == [None] * 28
    wanted = {row["model_id"].removeprefix("bigcode/starcoderbase"): row for row in rows if row["method_id"] == "fft"}
    assert {name: row["devices"] for name, row in wanted.items()} == {"-1b": 1, "-3b": 1, "-7b": 4, "": 8}
    assert all(row["devices"] == 1 for row in rows if row["method_id"] != "fft")
    for row in rows:
        rate = ASSUMED["none" if row["method_id"] == "fft" else "8bit"]
        assert row["device_hours"] == pytest.approx(row["train_flops"] / rate / 3600)
        assert row["price"] == pytest.approx(2.5 * row["device_hours"])
        assert row["memory_bytes"] < 80e9
    people = run_cli("collect", "astraios", *asked).stderr
    assert "hours on these devices" in people
    assert "assumed for one H100" in people
    assert "no GPU was measured here" in people
    few = run_cli("collect", "astraios", "--dry-run", "--device-memory", 80, "--devices", 4, "--json").stdout
    assert [row["problem"] for row in json.loads(few) if row["problem"]] == [
        "wants 8 devices (processes), and there are 4: set fewer, or --machine K/N"
    ]
    assert_one_line(run_cli("collect", "astraios", "--dry-run", "--devices", 0), 2, "--devices 0: must be above 0")


@pytest.mark.parametrize(
    ("size", "method", "quantization", "micro_batch", "checkpointing", "measured_gb"),
    [
        ("1B", "lora", "none", 1, False, 6.91),
        ("1B", "lora", "8bit", 1, False, 8.51),
        ("1B", "lora", "8bit", 8, False, 55.39),
        ("1B", "fft", "none", 1, False, 24.88),
        ("1B", "fft", "none", 1, True, 20.00),
        ("16B", "lora", "8bit", 1, True, 18.30),
    ],
)
def test_the_plan_is_what_a_gpu_was_seen_to_hold(
    size: str, method: str, quantization: str, micro_batch: int, checkpointing: bool, measured_gb: float
) -> None:
    """Peaks of what was allocated on an H200 (benchmarks/RESULTS.md), to which the process's own does not belong."""
    from transformers import GPTBigCodeConfig

    from astraios.models.counting import count_parameters
    from astraios.models.methods import METHODS
    from astraios.train.loop import TrainSpec
    from astraios.train.memory import training_memory

    width, layers, heads = {"1B": (2048, 24, 16), "16B": (6144, 40, 48)}[size]
    config = GPTBigCodeConfig(
        vocab_size=49152, n_positions=8192, n_embd=width, n_layer=layers, n_head=heads, n_inner=4 * width,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    tuning = METHODS.get(method)
    spec = TrainSpec(
        dtype="bfloat16", quantization=quantization, micro_batch=micro_batch, gradient_checkpointing=checkpointing
    )
    planned = training_memory(
        config, count_parameters(config, tuning, tuning.with_defaults({})), spec,
        full=method == "fft", positions=2048, device="cuda",
    )  # fmt: skip
    assert (planned.total - planned.process) / 1e9 == pytest.approx(measured_gb, rel=0.1)


@pytest.mark.promise(PROMISE)
def test_a_cpus_rate_says_nothing_of_a_gpu(small_sweep: Path, tmp_path: Path) -> None:
    from astraios.workflow.collecting import _measured

    db = tmp_path / "x.duckdb"
    run_cli("collect", small_sweep, "--only", "method_id=lora", "--out", tmp_path / "runs", "--db", db)
    assert _measured(db, "cpu")
    assert _measured(db, "cuda") == {}


@pytest.mark.promise(PROMISE)
def test_fields_of_train_for_one_methods_cells_and_for_one_model() -> None:
    plain = {(c.model_id, c.method_id): c for c in sweep_of().cells()}
    text = '[method.fft]\ncheckpoint_every = 50\n[method.fft."16B"]\nprocesses = 8\nfsdp = true\ncheckpoint_every = 100'
    changed = {(c.model_id, c.method_id): c for c in sweep_of(text).cells()}
    small, large = ("bigcode/starcoderbase-1b", "fft"), ("bigcode/starcoderbase", "fft")
    assert (changed[small].train.checkpoint_every, changed[small].train.processes) == (50, 1)
    assert (changed[large].train.checkpoint_every, changed[large].train.processes) == (100, 8)
    assert changed[large].train.fsdp
    for key, cell in plain.items():
        assert (changed[key].run_id == cell.run_id) == (key != large), "others are the runs they were"


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ('[method.fft."18B"]\nprocesses = 2', r"\[method.fft.18B\] no base model of this sweep; did you mean '1.?B'"),
        ("[method.fft]\nprocesses = 0", r"\[method.fft\] processes = 0: must be at least 1"),
        ("[method.fft]\nfsdp = true", r"fsdp = true shares a model among processes"),
        ('[method.fft."7B"]\nprocesses = 5', r"batch_size = 32 is no multiple"),
        ("[method.fft]\ncheckpoint_evry = 3", r"has no setting 'checkpoint_evry'"),
    ],
)
def test_what_makes_no_sense_for_a_method_is_refused(method: str, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        sweep_of(method)


@pytest.mark.promise(PROMISE)
def test_the_advice_of_a_refusal_can_be_followed() -> None:
    for model, method, quantization in (("7B", "fft", "auto"), ("16B", "fft", "auto"), ("16B", "lora", "none")):
        train = f'gradient_checkpointing = true\nquantization = "{quantization}"'
        cells = [c for c in sweep_of(train=train).cells() if c.method_id == method]
        cell = cells[{"7B": 1, "16B": 2}[model]]
        memory = 80e9 if method == "fft" else 24e9
        [refused] = refuse_misfits([describe(cell, "cuda")], memory)
        assert refused.problem
        advice = refused.problem.partition("processes = ")[2]
        assert f"[method.{method}]" in advice
        processes = int(advice.split()[0])
        followed = f'[method.{method}."{model}"]\nprocesses = {processes}\nfsdp = true'
        again = next(
            c for c in sweep_of(followed, train).cells() if (c.model_id, c.method_id) == (cell.model_id, method)
        )
        assert refuse_misfits([describe(again, "cuda")], memory)[0].problem is None
        assert ("8bit" in refused.problem) == (method == "lora"), "what can't be quantized is not told to be"
    eight = sweep_of("[method.lora]\nprocesses = 2\nfsdp = true")
    lora = next(c for c in eight.cells() if c.method_id == "lora")
    assert "can't share out a 8bit base" in str(describe(lora, "cuda").problem), "said in the plan, not after loading"


def test_hours_until_all_is_done() -> None:
    assert _elapsed([(2.0, 1), (1.0, 1), (1.0, 1)], 2) == 2.0
    assert _elapsed([(3.0, 2), (1.0, 1)], 2) == 4.0


class _Still:
    """In place of a process: what is tested is who gets which device."""

    def __init__(self, **named: Any) -> None:
        self.arguments = named["args"]

    def start(self) -> None:
        pass


@pytest.mark.promise(PROMISE)
def test_each_cell_gets_the_devices_that_it_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small cells run beside each other while a large one waits for its share; nobody has a device that is taken."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    text = '[method.fft."16B"]\nprocesses = 4\nfsdp = true'
    plans = [describe(c, "cuda") for c in sweep_of(text, "gradient_checkpointing = true").cells()]
    jobs = [Job(p.cell.run_id, p.cell.model_id + p.cell.method_id, p.cell.model_id, 1.0, p) for p in plans]
    large = next(job for job in jobs if job.n_devices == 4)
    small = [job for job in jobs if job.n_devices == 1]
    pool: Any = local.local.open(jobs, Orders("{}", Place(str(tmp_path)), ComputeSpec(), {}))
    monkeypatch.setattr(pool.context, "Process", lambda **named: _Still(**named), raising=False)
    assert pool.room() == 4
    pool.start([small[0], small[1], large])
    taken = [running.devices for running in pool.running.values()]
    assert sorted(taken) == [["0"], ["1"]]
    assert pool.room() == 0, "the large one is next"
    del pool.running[small[0].key]
    pool._start_waiting()
    assert large.key not in pool.running
    del pool.running[small[1].key]
    pool._start_waiting()
    assert sorted(pool.running[large.key].devices) == ["0", "1", "2", "3"]
