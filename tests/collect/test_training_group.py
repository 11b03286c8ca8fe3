"""Several processes train what one would: the same loss curve at the same global batch."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import traceback
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from astraios.collect.cell.run import run_cell  # noqa: E402
from astraios.collect.cell.training import Training, prepared_data  # noqa: E402
from astraios.collect.plan.sweep import Cell, Sweep  # noqa: E402
from astraios.runs.directory import RunDirectory  # noqa: E402
from astraios.train.checkpoint import Checkpoint  # noqa: E402
from astraios.train.group import ALONE, Group, Replicas, Shards  # noqa: E402
from tests.conftest import sweep_toml  # noqa: E402


@pytest.fixture(scope="session")
def still_model(small_models: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A base without dropout: masks are drawn anew in each process, and the curves are to be compared."""
    folder = tmp_path_factory.mktemp("models") / "still"
    shutil.copytree(small_models[0], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}))
    return [str(folder)]


def cell_of(small_models: list[str], pairs: Path, method_id: str, changes: str = "") -> tuple[Sweep, Cell]:
    text = sweep_toml(small_models[:1], pairs, methods=[method_id], tasks=[])
    text = text.replace("micro_batch = 2", "micro_batch = 1").replace("[train]", f"[train]\n{changes}")
    dropout = "\ndropout = 0.0" if method_id == "lora" else ""
    sweep = Sweep.from_toml(text.replace("learning_rate = 1e-2", f"learning_rate = 1e-2{dropout}"), "x")
    return sweep, sweep.cells()[0]


def curve(cell: Cell, group: Group, checkpoint: Path | None = None, stop: int = 0) -> list[tuple[str, int, float]]:
    """Losses of a training, from a checkpoint where there is one; with `stop`, only as far as that step."""
    training = Training(cell, "cpu")
    base, tokenizer = training.load_base()
    packed, _, _ = prepared_data(cell, tokenizer)
    points: list[tuple[str, int, float]] = []
    kept = Checkpoint(checkpoint) if checkpoint else None

    class StoppedError(Exception):
        pass

    def on_step(step: int) -> None:
        if step == stop:
            raise StoppedError

    trainer = training.trainer(
        base,
        packed,
        on_loss=lambda p: points.append((p.split, p.step, p.loss_nats)),
        on_step=on_step,
        save=kept.save if kept and group.rank == 0 else lambda state: None,
        group=group,
    )
    if kept and (state := kept.load()):
        trainer.restore(state)
    with contextlib.suppress(StoppedError):
        trainer.run()
    return points


def _member(rank: int, size: int, kind: str, cell: Cell, folder: Path, stop: int, queue: Any) -> None:
    import torch.distributed as dist

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{stop}", rank=rank, world_size=size)
        group = Shards("cpu") if kind == "shards" else Replicas()
        points = curve(cell, group, folder / "checkpoint.pt", stop)
        dist.barrier()
        dist.destroy_process_group()
    except BaseException:
        queue.put(traceback.format_exc())
        raise
    if rank == 0:
        queue.put(points)


def two_processes(kind: str, cell: Cell, folder: Path, stop: int = 0, size: int = 2) -> list[tuple[str, int, float]]:
    """The curve that two processes (or `size`) give; from a fork server, which imports everything once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["astraios.collect.launch._preload"])
    queue = context.Queue()
    members = [context.Process(target=_member, args=(r, size, kind, cell, folder, stop, queue)) for r in range(size)]
    for member in members:
        member.start()
    points = queue.get(timeout=300)
    assert not isinstance(points, str), points
    for member in members:
        member.join(timeout=60)
        assert member.exitcode == 0
    return points


def assert_same_curve(one: list[tuple[str, int, float]], two: list[tuple[str, int, float]], within: float) -> None:
    assert [p[:2] for p in one] == [p[:2] for p in two]
    assert max(abs(a[2] - b[2]) for a, b in zip(one, two, strict=True)) < within


@pytest.mark.promise("several processes train as one")
@pytest.mark.parametrize(
    ("method_id", "kind"), [("fft", "shards"), ("lora", "shards"), ("ptuning", "shards"), ("adalora", "replicas")]
)
def test_two_processes_give_the_curve_of_one(
    method_id: str, kind: str, still_model: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    _, cell = cell_of(still_model, pairs_file, method_id)
    if method_id == "adalora":
        cell = dataclasses.replace(cell, settings={**cell.settings, "dropout": 0.0})
    one = curve(cell, ALONE)
    tests = [loss for split, _, loss in one if split == "test"]
    assert len(set(tests)) == len(tests), "something is trained"
    two = two_processes(kind, cell, tmp_path)
    assert_same_curve(one, two, 1e-4)


def test_any_number_of_processes_goes_on_from_a_checkpoint(
    still_model: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    _, cell = cell_of(still_model, pairs_file, "fft")
    one = curve(cell, ALONE)
    first = two_processes("shards", cell, tmp_path, stop=4)
    rest = curve(cell, ALONE, tmp_path / "checkpoint.pt")
    assert_same_curve(one, first + rest, 1e-4)
    (tmp_path / "checkpoint.pt").unlink()
    first = curve(cell, ALONE, tmp_path / "checkpoint.pt", stop=4)
    assert_same_curve(one, first + two_processes("shards", cell, tmp_path), 1e-4)


@pytest.mark.promise("the GPU path: what a machine without one can show of it")
@pytest.mark.parametrize(("method_id", "size"), [("fft", 2), ("fft", 4), ("lora", 2)])
def test_shares_in_bfloat16_resume_bit_for_bit(
    method_id: str, size: int, still_model: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    """As on GPUs: mixed precision and gradient checkpointing; stopped after 4 of 6 steps and gone on with."""
    _, cell = cell_of(still_model, pairs_file, method_id, "gradient_checkpointing = true")
    train = dataclasses.replace(cell.train, dtype="bfloat16", batch_size=4)
    cell = dataclasses.replace(cell, train=train)
    for name in ("whole", "halves"):
        (tmp_path / name).mkdir()
    whole = two_processes("shards", cell, tmp_path / "whole", size=size)
    first = two_processes("shards", cell, tmp_path / "halves", stop=4, size=size)
    assert first + two_processes("shards", cell, tmp_path / "halves", size=size) == whole
    assert_same_curve(curve(cell, ALONE), whole, 0.05)


@pytest.mark.slow
@pytest.mark.promise("several processes train as one")
@pytest.mark.parametrize("method_id", ["fft", "lora"])
def test_a_cell_under_torchrun_with_fsdp(
    method_id: str, still_model: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    sweep, alone = cell_of(still_model, pairs_file, method_id)
    run_cell(alone, sweep.to_json(), tmp_path, device="cpu")
    shared_sweep, shared = cell_of(still_model, pairs_file, method_id, "processes = 2\nfsdp = true")
    assert shared.run_id != alone.run_id
    run_cell(shared, shared_sweep.to_json(), tmp_path, device="cpu")
    one, two = (
        [(p.split, p.step, p.loss_nats) for p in RunDirectory(tmp_path / c.run_id).losses()] for c in (alone, shared)
    )
    assert_same_curve(one, two, 1e-3)
    attempt = RunDirectory(tmp_path / shared.run_id).attempts()[0]
    assert attempt["state"] == "done"
    assert attempt["checkpoint_bytes"] > 0


@pytest.mark.slow
def test_a_failure_under_torchrun_is_one_line(still_model: list[str], pairs_file: Path, tmp_path: Path) -> None:
    from astraios.errors import CellError

    sweep, cell = cell_of(still_model, pairs_file, "fft", "processes = 2\nfsdp = true")
    hot = dataclasses.replace(cell, train=dataclasses.replace(cell.train, learning_rate=1e30))
    with pytest.raises(CellError, match="lower the learning rate") as error:
        run_cell(hot, sweep.to_json(), tmp_path, device="cpu")
    assert "\n" not in str(error.value)
