"""Training as GPUs will have it, as far as a CPU can show it: what is kept in memory, and what is done only once."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from astraios.collect.cell import distributed  # noqa: E402
from astraios.collect.cell.run import run_cell  # noqa: E402
from astraios.collect.cell.training import Training, prepared_data  # noqa: E402
from astraios.collect.plan.sweep import Cell, Sweep  # noqa: E402
from astraios.errors import CellError, UsageError  # noqa: E402
from astraios.runs.directory import RunDirectory  # noqa: E402
from astraios.train.checkpoint import Checkpoint  # noqa: E402
from astraios.train.group import ALONE, Group  # noqa: E402
from astraios.train.loss import chunk_elements, cross_entropy_sum, evaluation_blocks  # noqa: E402
from astraios.train.precision import autocast  # noqa: E402
from tests.conftest import REPOSITORY, sweep_toml  # noqa: E402

PROMISE = "the GPU path: what a machine without one can show of it"


def text_of(models: list[str], pairs: Path, method_id: str, changes: str = "") -> str:
    text = sweep_toml(models[:1], pairs, methods=[method_id], tasks=[]).replace("[train]", f"[train]\n{changes}")
    for line in filter(None, changes.splitlines()):
        # What is changed is said once.
        key = line.partition(" =")[0]
        head, _, tail = text.rpartition(f"\n{key} = ") if text.count(f"\n{key} = ") > 1 else (text, "", "")
        text = f"{head}\n{tail.partition(chr(10))[2]}" if tail else text
    return text


def cell_of(models: list[str], pairs: Path, method_id: str, changes: str = "") -> tuple[Sweep, Cell]:
    sweep = Sweep.from_toml(text_of(models, pairs, method_id, changes), "x")
    return sweep, sweep.cells()[0]


def trainer_of(cell: Cell, group: Group = ALONE) -> Any:
    training = Training(cell, "cpu")
    base, tokenizer = training.load_base()
    packed, _, _ = prepared_data(cell, tokenizer)
    return training.trainer(base, packed, on_loss=lambda point: None, group=group)


@pytest.mark.promise(PROMISE)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method_id", ["fft", "lora", "ptuning"])
def test_what_was_trained_before_is_loaded_as_weights_alone(
    method_id: str, dtype: str, small_models: list[str], pairs_file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """No optimizer and no float32 copy is made where nothing is left to train: a 16B model would not fit with them."""
    sweep, cell = cell_of(small_models, pairs_file, method_id, f'dtype = "{dtype}"')
    run_cell(cell, sweep.to_json(), tmp_path / "whole", device="cpu")
    run_cell(cell, sweep.to_json(), tmp_path / "halves", device="cpu", train_only=True)

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr("torch.optim.AdamW", refused)
    monkeypatch.setattr("astraios.train.loop.Trainer", refused)
    run_cell(cell, sweep.to_json(), tmp_path / "halves", device="cpu")
    from safetensors.torch import load_file

    name = "model.safetensors" if method_id == "fft" else "adapter_model.safetensors"
    one, two = (load_file(tmp_path / way / cell.run_id / "adapter" / name) for way in ("whole", "halves"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.promise(PROMISE)
def test_what_several_processes_have_trained_is_not_trained_again(
    small_models: list[str], pairs_file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """An evaluation job has one device: it must not start eight processes whose work is done."""
    sweep, cell = cell_of(small_models, pairs_file, "fft", "processes = 2\nmicro_batch = 1")
    alone = trainer_of(cell)
    alone.save = Checkpoint(_started(cell, tmp_path).checkpoint_path).save
    alone.run()
    monkeypatch.setattr(distributed, "train", lambda *_: pytest.fail("started again"))
    run_cell(cell, sweep.to_json(), tmp_path, device="cpu")
    assert RunDirectory(tmp_path / cell.run_id).attempts()[-1]["state"] == "done"


def _started(cell: Cell, folder: Path) -> RunDirectory:
    directory = RunDirectory(folder / cell.run_id)
    directory.start(cell.to_json())
    return directory


@pytest.mark.promise(PROMISE)
def test_a_forward_pass_leaves_no_casts_of_the_weights(small_models: list[str], pairs_file: Path) -> None:
    _, cell = cell_of(small_models, pairs_file, "fft", 'dtype = "bfloat16"')
    trainer = trainer_of(cell)
    assert trainer.raised
    ids = trainer.data.train[:1]
    shapes = {p.shape for p in trainer.model.parameters() if p.ndim == 2}
    held = {}
    for cached in (False, True):
        scope = torch.autocast("cpu", torch.bfloat16) if cached else autocast("cpu", raised=True)
        trainer.model.eval()
        with torch.enable_grad(), scope:
            loss = cross_entropy_sum(trainer.model, ids, ids)
            gc.collect()
            # A cast keeps its weight's shape, and its transpose, which autograd keeps, shares its storage.
            casts = {
                one.untyped_storage().data_ptr()
                for one in gc.get_objects()
                if isinstance(one, torch.Tensor) and one.dtype == torch.bfloat16 and one.shape in shapes
            }
        held[cached] = len(casts)
        del loss
    assert held[False] == 0, "autocast keeps nothing"


@pytest.mark.promise(PROMISE)
@pytest.mark.parametrize("method_id", ["lora", "ia3", "adapterh", "ptuning", "ln"])
def test_checkpointing_frees_what_8_bit_layers_are_given(
    method_id: str, small_models: list[str], pairs_file: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    losses, gradients = [], []
    for checkpointing in ("false", "true"):
        changes = (
            f'dtype = "bfloat16"\nquantization = "8bit"\ngradient_checkpointing = {checkpointing}\nmicro_batch = 1'
        )
        _, cell = cell_of(small_models, pairs_file, method_id, changes)
        if "dropout" in cell.settings:
            cell = dataclasses.replace(cell, settings={**cell.settings, "dropout": 0.0})
        trainer = trainer_of(cell)
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        alive: list[Any] = []

        def note(module: Any, given: Any, result: Any, alive: list[Any] = alive) -> None:
            alive.append(weakref.ref(given[0]))

        layers = [m for m in trainer.model.modules() if type(m).__module__.startswith("bitsandbytes")]
        handles = [layer.register_forward_hook(note) for layer in layers]
        trainer.model.train()
        ids = trainer.data.train[:1]
        loss = cross_entropy_sum(trainer.model, ids, ids, trainer.n_virtual)
        gc.collect()
        n_alive = sum(one() is not None for one in alive)
        for handle in handles:
            handle.remove()
        if checkpointing == "true":
            assert layers
            # The first layer's input is a checkpoint itself.
            assert n_alive <= 1, f"{n_alive} of {len(alive)} inputs are kept"
        loss.backward()
        losses.append(float(loss))
        gradients.append([p.grad for p in trainer.model.parameters() if p.requires_grad])
    assert losses[0] == losses[1]
    assert all(a is not None and torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.promise(PROMISE)
def test_an_uneven_share_of_the_batch_is_refused(small_models: list[str], pairs_file: Path) -> None:
    class Three(Group):
        size = 3

    _, cell = cell_of(small_models, pairs_file, "lora")
    with pytest.raises(CellError, match="can't be shared by 3 processes"):
        trainer_of(cell, Three())


def test_machines_make_sense_or_are_refused_in_a_line() -> None:
    with pytest.raises(UsageError, match="--machine '2/2'"):
        distributed.Machines.of("2/2", "host:1")
    with pytest.raises(UsageError, match="--meet 'host'"):
        distributed.Machines.of("0/2", "host")
    with pytest.raises(CellError, match="shared out evenly over 3 machines"):
        distributed.Machines.of("0/3", "host:1").torchrun(8)


def test_blocks_of_an_evaluation_follow_the_models_width() -> None:
    """Blocks at a time: as ever on a CPU; on a GPU by the model's width; fewer where logits come in one piece."""
    from types import SimpleNamespace

    def blocks(width: int, words: int, device: str, chunked: bool = True) -> int:
        config = SimpleNamespace(hidden_size=width, vocab_size=words)
        model: Any = SimpleNamespace(config=config, _astraios_can_chunk=chunked)
        return evaluation_blocks(model, 2048, device)

    assert blocks(6144, 49152, "cpu") == 8
    assert blocks(2048, 49152, "cuda") == 5
    assert blocks(1024, 49152, "cuda") == 8
    assert 1 <= blocks(6144, 49152, "cuda") < 8
    assert blocks(2048, 256_000, "cuda", chunked=False) == 1


MEMBER = """
import json, os
import torch, torch.distributed as dist
from astraios.train.group import Shards
from astraios.train.loop import TrainSpec, build_optimizer
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, page = dist.get_rank(), os.sysconf("SC_PAGE_SIZE")


def now():
    return int(open("/proc/self/statm").read().split()[1]) * page


def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def forget_peak():
    open("/proc/self/clear_refs", "w").write("5")


def measure(width, layers):
    shape = {"n_embd": width, "n_layer": layers, "n_head": 4, "n_positions": 64}
    config = GPTBigCodeConfig(vocab_size=512, bos_token_id=0, eos_token_id=0, **shape)
    start = now()
    forget_peak()
    torch.manual_seed(0)
    with torch.device("cpu" if rank == 0 else "meta"):
        model = GPTBigCodeForCausalLM(config)
    n = sum(p.numel() for p in model.parameters())
    group = Shards("cpu")
    model, _ = group.prepared(model)
    made = peak() - start
    optimizer = build_optimizer(model, TrainSpec())
    ids = torch.randint(1, 500, (1, 16))
    for _ in range(2):
        model(input_ids=ids).logits.float().logsumexp(-1).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    trained = now() - start
    share = sum(p.to_local().numel() for p in model.parameters())
    forget_peak()
    state = {"model": group.weights(model, None), "optimizer": group.whole(optimizer.state_dict())}
    saved = peak() - start
    return {"rank": rank, "n": n, "share": share / n, "loading": made / n, "training": trained / n, "saving": saved / n}


# Once in small, so that what is imported and set up on the way is not counted.
measure(64, 2)
os.write(1, (json.dumps(measure(1024, 8)) + "\\n").encode())
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.promise(PROMISE)
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's count of a process's peak memory")
@pytest.mark.parametrize("size", [2, 4])
def test_no_process_but_the_first_holds_a_whole_model(size: int, tmp_path: Path) -> None:
    """Bytes a parameter, from each process's own peak: loading, training, saving."""
    program = tmp_path / "member.py"
    program.write_text(MEMBER)
    said = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size), str(program)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    ranks = sorted((json.loads(line) for line in said.stdout.splitlines() if line[:1] == "{"), key=lambda r: r["rank"])
    sys.stdout.write(json.dumps(ranks, indent=1))
    assert len(ranks) == size
    for rank in ranks:
        assert rank["share"] == pytest.approx(1 / size, rel=0.05)
        # Parameters, gradients and both moments in float32, of its share alone.
        first = rank["rank"] == 0
        if not first:
            assert rank["loading"] < 4 * (1 / size + 0.35), "its share, and a layer at a time"
            assert rank["training"] == pytest.approx(16 / size, rel=0.1)
            assert rank["saving"] < 16 / size + 2, "only the first process keeps what is saved"
    assert ranks[0]["saving"] > 12


@pytest.mark.promise(PROMISE)
def test_a_gpu_that_emulates_bfloat16_gets_float32(
    small_models: list[str], pairs_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V100 and T4 say that they support it, and are slower with it than without."""
    emulates = {"so": True}
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulates["so"]
    )
    _, cell = cell_of(small_models, pairs_file, "lora", 'dtype = "auto"')
    assert Training(cell, "cuda:0").dtype == "float32"
    emulates["so"] = False
    assert Training(cell, "cuda:0").dtype == "bfloat16"
    assert Training(cell, "cpu").dtype == "float32"
    assert Training(cell, "cpu", computes_on="cuda").dtype == "bfloat16", "read on the CPU, for a GPU"


def test_every_kind_of_device_has_a_limit_of_logits() -> None:
    assert chunk_elements("cpu") < chunk_elements("cuda") == chunk_elements("xpu") == chunk_elements("mps")


WAITING = """
import time

from astraios.collect.cell import distributed

print("waiting", flush=True)
distributed._joined = lambda device: time.sleep(120)  # as one that waits for the others
distributed.main(["nowhere", "cpu", "1"])
"""


@pytest.mark.promise(PROMISE)
def test_a_process_that_waits_for_others_ends_with_its_cell() -> None:
    """A time limit ends the cell alone; who tries it again must find the devices free."""
    cell = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    member = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), distributed._PARENT: str(cell.pid)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert member.stdout is not None
    assert member.stdout.readline() == "waiting\n"
    assert member.poll() is None
    cell.kill()
    cell.wait()
    assert member.wait(timeout=30) == 1


@pytest.fixture(scope="session")
def still(small_models: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A base without dropout: masks are drawn anew in each process."""
    folder = tmp_path_factory.mktemp("models") / "still"
    shutil.copytree(small_models[0], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}))
    return [str(folder)]


def _machine(number: int, toml: Path, folder: Path, port: int) -> subprocess.Popen[str]:
    """One machine: a folder of its own for everything, and the one command."""
    (folder / str(number)).mkdir(exist_ok=True)
    words = ["collect", toml, "--machine", f"{number}/2", "--meet", f"127.0.0.1:{port}"]
    words += ["--out", folder / str(number) / "runs", "--db", folder / str(number) / "x.duckdb"]
    return subprocess.Popen(
        [sys.executable, "-m", "astraios.cli", *map(str, words)],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "ASTRAIOS_CACHE": str(folder / str(number) / "cache"),
            "GLOO_SOCKET_IFNAME": "lo",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _losses(folder: Path, cell: Cell) -> list[tuple[str, int, float]]:
    return [(p.split, p.step, p.loss_nats) for p in RunDirectory(folder / cell.run_id).losses()]


@pytest.mark.slow
@pytest.mark.promise(PROMISE)
def test_two_machines_train_a_cell_by_one_command_each(still: list[str], pairs_file: Path, tmp_path: Path) -> None:
    """Folders of their own, killed on the way, started again: the losses of one machine with as many processes."""
    changes = "processes = 2\nfsdp = true\nmicro_batch = 1\nsteps = 40\neval_every = 10\nwarmup_steps = 4"
    sweep, cell = cell_of(still, pairs_file, "fft", changes)
    run_cell(cell, sweep.to_json(), tmp_path / "one", device="cpu")
    toml = tmp_path / "sweep.toml"
    toml.write_text(text_of(still, pairs_file, "fft", changes))
    checkpoint = tmp_path / "0" / "runs" / cell.run_id / "checkpoint.pt"

    machines = [_machine(number, toml, tmp_path, port) for port in [_free_port()] for number in (0, 1)]
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < deadline:
        assert machines[0].poll() is None, machines[0].communicate()[0]
        time.sleep(0.05)
    for machine in machines:
        os.killpg(machine.pid, signal.SIGKILL)
        machine.communicate()
    assert 0 < Checkpoint(checkpoint).step() < 40, "killed on the way"

    machines = [_machine(number, toml, tmp_path, port) for port in [_free_port()] for number in (0, 1)]
    said = [machine.communicate(timeout=400)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert _losses(tmp_path / "0" / "runs", cell) == _losses(tmp_path / "one", cell)
    assert not (tmp_path / "1" / "runs" / cell.run_id / "losses.jsonl").exists()


def compiled_training(models: list[str], pairs: Path, method_id: str, changes: str) -> tuple[list[float], Any]:
    """Losses of three steps with dropout, and the trainer."""
    points: list[Any] = []
    _, cell = cell_of(models, pairs, method_id, f"steps = 3\nlog_every = 1\neval_every = 3\n{changes}")
    training = Training(cell, "cpu")
    base, tokenizer = training.load_base()
    base.config.resid_pdrop = 0.1
    for module in base.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    packed, _, _ = prepared_data(cell, tokenizer)
    trainer = training.trainer(base, packed, on_loss=points.append)
    trainer.run()
    return [point.loss_nats for point in points], trainer


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler (g++) here")
@pytest.mark.parametrize(
    ("method_id", "changes"),
    [("lora", ""), ("lora", "gradient_checkpointing = true"), ("fft", 'dtype = "bfloat16"')],
)
def test_compiled_blocks_train_as_they_are_written(
    small_models: list[str], pairs_file: Path, method_id: str, changes: str
) -> None:
    """With dropout, worked out again or not: the same numbers are dropped, so that losses differ by rounding."""
    written, _ = compiled_training(small_models, pairs_file, method_id, changes)
    compiled, trainer = compiled_training(small_models, pairs_file, method_id, f"compile = true\n{changes}")
    rounding = 2e-2 if "bfloat16" in changes else 1e-5
    assert compiled == pytest.approx(written, abs=rounding)
    assert written[0] == compiled[0], "an evaluation is as it is written"
    model = trainer.finished()
    assert not any(getattr(module, "_compiled_call_impl", None) for module in model.modules())


def test_what_can_not_be_compiled_is_refused_in_one_line(small_models: list[str], pairs_file: Path) -> None:
    with pytest.raises(UsageError, match=r"compile = true does not compile shares of a model"):
        cell_of(small_models, pairs_file, "fft", "compile = true\nfsdp = true\nprocesses = 2\nmicro_batch = 1")
    from torch._dynamo.exc import TorchRuntimeError

    from astraios.errors import one_line

    assert "set [train] compile = false" in one_line(TorchRuntimeError("no compiler"))
