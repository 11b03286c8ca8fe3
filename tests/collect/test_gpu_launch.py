"""What launchers do where there are GPUs, as far as a machine without one can show it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from astraios.collect.cell import run as cell_run
from astraios.collect.launch import Orders, local, slurm
from astraios.collect.plan.cell_plan import Plan, describe
from astraios.collect.plan.job import Job
from astraios.collect.plan.sweep import ComputeSpec, Sweep
from astraios.errors import CellError
from astraios.runs.place import Place
from tests.conftest import REPOSITORY


def planned(device: str, **train: object) -> tuple[Plan, Job]:
    fields = "".join(f"{name} = {str(value).lower()}\n" for name, value in train.items())
    sweep = Sweep.from_toml(f'name = "x"\nmodels = ["1B"]\nmethods = ["lora"]\n[train]\n{fields}', "x")
    plan = describe(sweep.cells()[0], device)
    return plan, Job(plan.cell.run_id, "x", plan.cell.model_id, 1.0, plan)


def orders(folder: Path, **compute: Any) -> Orders:
    return Orders("{}", Place(str(folder)), ComputeSpec(**compute), {})


def _probe(connection: Any) -> None:
    connection.send(os.getppid())


@pytest.mark.promise("the GPU path: what a machine without one can show of it")
def test_a_process_that_gets_a_gpu_was_not_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bitsandbytes asks for the GPU as it is imported, and a fork of a process that has asked can't use one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    _, job = planned("cuda")
    for compute, fresh in ((ComputeSpec(), True), (ComputeSpec(device="cpu"), False)):
        pool = local.local.open([job], Orders("{}", Place(str(tmp_path)), compute, {}))
        ours, theirs = pool.context.Pipe()  # type: ignore[attr-defined]
        process = pool.context.Process(target=_probe, args=(theirs,))  # type: ignore[attr-defined]
        process.start()
        assert ours.poll(120)
        parent = ours.recv()
        process.join()
        if fresh:
            assert parent == os.getpid(), "started by this process, not by a fork server"
        else:
            assert parent != os.getpid(), "on a CPU the fork server saves the imports"


def test_the_fork_servers_imports_ask_for_the_gpu() -> None:
    """Why it is so: the product's own preload asks, which poisons a fork."""
    trace = """
import torch
asked = []
for name in ("is_available", "get_device_capability", "device_count"):
    setattr(torch.cuda, name, lambda *a, name=name, real=getattr(torch.cuda, name): (asked.append(name), real(*a))[1])
import astraios.collect.launch._preload
print(asked)
"""
    said = subprocess.run(
        [sys.executable, "-c", trace],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "is_available" in said.stdout.splitlines()[-1]


@pytest.mark.promise("the GPU path: what a machine without one can show of it")
def test_slurm_asks_for_gpus_and_memory_wherever_the_plan_is_for_them(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    from submitit.auto.auto import AutoExecutor

    asked: dict[str, Any] = {}

    class Recorder(AutoExecutor):
        def __init__(self, folder: Path, **_: Any) -> None:
            super().__init__(folder, cluster="local")

        def update_parameters(self, **fields: Any) -> None:
            asked.clear()
            asked.update(fields)

    def ask(plan_for: str, **compute: Any) -> dict[str, Any]:
        _, job = planned(plan_for)
        queue = slurm.slurm.open([job], orders(tmp_path, **compute))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("submitit.AutoExecutor", Recorder)
            queue._executor(job)  # type: ignore[attr-defined]
        return dict(asked)

    gpu = ask("cuda")
    assert gpu["gpus_per_node"] == 1
    assert gpu["cpus_per_task"] == 4
    assert gpu["mem_gb"] >= 2
    assert ask("cuda", memory_gb=99.0)["mem_gb"] == 99
    cpu = ask("cpu", device="cpu")
    assert not {"gpus_per_node", "mem_gb"} & set(cpu)
    assert cpu["cpus_per_task"] == 1


@pytest.mark.promise("the GPU path: what a machine without one can show of it")
def test_what_was_planned_for_a_gpu_does_not_train_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(CellError, match="planned for a GPU, and torch finds none here"):
        cell_run._found("auto", "cuda")
    assert cell_run._found("auto", "cpu") == "cpu"
    assert cell_run._found("auto", "auto") == "cpu"
    assert cell_run._found("cpu", "cuda") == "cpu", "asked for by name"


def test_a_plan_remembers_its_device_for_another_process() -> None:
    plan, _ = planned("cuda")
    assert Plan.from_state(plan.to_state()).device == "cuda"
    assert dataclasses.replace(plan, device="cpu").device == "cpu"


def test_ray_refuses_a_cluster_without_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from astraios.collect.launch import ray as ray_launcher
    from astraios.errors import StoreError

    _, job = planned("cuda")
    with pytest.raises(StoreError, match="the cluster has none"):
        ray_launcher.ray.open([job], orders(tmp_path))
