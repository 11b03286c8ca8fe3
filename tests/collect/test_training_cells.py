"""Cells from end to end: bad input, what is kept, what it cost."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

import pytest

from astraios import store
from astraios.collect.cell.run import run_cell
from astraios.collect.plan.cell_plan import describe
from astraios.collect.plan.keep import check_disk, needed_bytes
from astraios.collect.plan.sweep import Sweep
from astraios.collect.run import plan
from astraios.errors import AstraiosError, CellError, StoreError, UsageError, one_line
from astraios.runs.directory import RunDirectory
from tests.conftest import run_cli, sweep_toml

torch = pytest.importorskip("torch")


@pytest.fixture(scope="session")
def strange_model(small_models: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """An architecture whose modules no method knows by name."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("models") / "strange"
    config = AutoConfig.for_model(
        "ctrl", vocab_size=257, n_positions=192, n_embd=16, dff=32, n_layer=1, n_head=2,
        pad_token_id=0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    shutil.copytree(small_models[0], folder)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


def collect(text: str, tmp_path: Path) -> dict[str, tuple[str, str | None]]:
    """All cells of a sweep, one after the other in this process; state and error of each method's attempt."""
    sweep = Sweep.from_toml(text, "x")
    for planned in plan(sweep, []):
        with contextlib.suppress(AstraiosError):
            run_cell(planned.cell, sweep.to_json(), tmp_path / "runs", device="cpu")
    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "runs")
    assert store.failed_checks(db) == {}
    rows = store.query(db, "select method_id, state, error from attempt join run using (run_id)").rows()
    return {method: (state, error) for method, state, error in rows}


@pytest.mark.promise("what can't be trained is said in one line")
@pytest.mark.parametrize("case", ["architecture", "module", "positions", "memory", "tokens"])
def test_one_wrong_cell_and_the_others_go_on(
    case: str,
    small_models: list[str],
    strange_model: str,
    pairs_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, wrong = sweep_toml(small_models[:1], pairs_file), "lora"
    if case == "architecture":
        text = sweep_toml([strange_model], pairs_file)
        pattern = r"lora.*ctrl.*method\.lora\.target_modules"
    elif case == "module":
        text = text.replace("[method.lora]", '[method.lora]\ntarget_modules = ["c_attn", "q_prj"]')
        pattern = r"method\.lora\.target_modules.*q_prj"
    elif case == "positions":
        text = text.replace('"lora"]', '"ptuning"]').replace("sequence_length = 128", "sequence_length = 180")
        wrong, pattern = "ptuning", r"data\.sequence_length.*192 positions.*at most 162"
    elif case == "tokens":
        from transformers import PreTrainedTokenizerFast

        larger = tmp_path / "larger"
        shutil.copytree(small_models[0], larger)
        words = PreTrainedTokenizerFast.from_pretrained(larger)
        words.add_tokens(["Question"])
        words.save_pretrained(larger)
        text = sweep_toml([str(larger)], pairs_file)
        wrong, pattern = "lora", r"tokenizer of .*larger gives token \d+, but the model has \d+ embeddings: give"
    else:
        from astraios.train.loop import Trainer

        train = Trainer.run

        def run_out(self: Trainer) -> object:
            if self.method is not None and self.method.name == "lora":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")
            return train(self)

        monkeypatch.setattr(Trainer, "run", run_out)
        pattern = r"out of memory: set \[train\] gradient_checkpointing = true.*micro_batch.*sequence_length"
    ends = collect(text, tmp_path)
    if case != "tokens":
        assert ends["fft"] == ("done", None)
    state, error = ends[wrong]
    assert state == "failed"
    assert error is not None
    assert "\n" not in error
    assert re.search(pattern, error), error


def test_out_of_memory_names_the_fields_to_change() -> None:
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ):
        assert re.search(r"out of memory.*gradient_checkpointing.*micro_batch.*sequence_length", one_line(error))


def test_a_sweep_without_a_cell_that_can_be_run_says_why(
    small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"])
    path = tmp_path / "s.toml"
    path.write_text(text.replace("[method.lora]", '[method.lora]\ntarget_modules = ["q_prj"]'))
    result = run_cli("collect", path, "--dry-run", "--json")
    assert result.returncode == 2
    assert "q_prj" in result.stderr
    path.write_text(sweep_toml(small_models[:1], pairs_file))
    rows = json.loads(run_cli("collect", path, "--dry-run", "--json").stdout)
    assert [row["problem"] for row in rows] == [None, None]


def test_costs_are_in_the_database(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    text = sweep_toml(small_models[:1], pairs_file).replace("[compute]", "[compute]\nprice_per_device_hour = 3.6")
    assert {state for state, _ in collect(text, tmp_path).values()} == {"done"}
    for row in store.query(tmp_path / "a.duckdb", "select * from attempt join run using (run_id)").iter_rows(
        named=True
    ):
        assert row["wall_seconds"] >= row["device_seconds"] > 0
        assert row["tokens_per_second"] == pytest.approx(row["n_tokens"] / row["device_seconds"])
        assert row["price"] == pytest.approx(row["device_seconds"] * 3.6 / 3600)
        assert row["peak_memory_bytes"] > 10**7
        assert row["checkpoint_bytes"] > 0
        assert row["matmul_flops_per_second"] > 10**8
        used = row["train_flops"] / row["device_seconds"] / row["matmul_flops_per_second"]
        assert row["model_flops_utilisation"] == pytest.approx(used)
        assert 0 < used < 1


def test_only_what_is_to_be_kept_is_kept(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    text = sweep_toml(small_models[:1], pairs_file) + "[keep]\nfull_models = false\n"
    sweep = Sweep.from_toml(text, "x")
    plain = Sweep.from_toml(sweep_toml(small_models[:1], pairs_file), "x")
    assert [c.run_id for c in sweep.cells()] == [c.run_id for c in plain.cells()], "[keep] is no part of a run"
    for cell in sweep.cells():
        run_cell(cell, sweep.to_json(), tmp_path, device="cpu")
        directory = RunDirectory(tmp_path / cell.run_id)
        assert directory.is_done(cell.asked)
        assert directory.adapter_path.is_dir() == (cell.method_id != "fft")


def test_the_disk_budget_is_asked_before_training(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    text = sweep_toml(small_models[:1], pairs_file) + "[keep]\ndisk_gb = 1e-5\n"
    path = tmp_path / "s.toml"
    path.write_text(text)
    result = run_cli("collect", path, "--db", tmp_path / "a.duckdb", "--out", tmp_path / "runs")
    assert result.returncode == 1
    assert re.search(r"2 cells need .* GB .*over \[keep\] disk_gb = 1e-05.*full_models = false", result.stderr)
    assert list((tmp_path / "runs").iterdir()) == []
    sweep = Sweep.from_toml(text, "x")
    plans = [describe(cell) for cell in sweep.cells()]
    full = next(p for p in plans if p.cell.method_id == "fft")
    assert needed_bytes([full], sweep.keep) == full.count.n_params * (4 + 12)
    with pytest.raises(StoreError, match="disk_gb"):
        check_disk(plans, sweep.keep, tmp_path)
    with pytest.raises(UsageError, match="disk_gb"):
        Sweep.from_toml(text.replace("1e-5", "0"), "x")


@pytest.mark.promise("what can't be trained is said in one line")
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "a", "completion": "b"}, r"row 3: no column 'prompt'; set \[data\] prompt_column"),
        ({"prompt": "a", "answer": "b"}, r"row 3: no column 'completion'; set \[data\] completion_column"),
        ({"prompt": "a", "completion": "  "}, "row 3: empty answer in column 'completion'"),
        ({"prompt": "a", "completion": None}, "row 3: empty answer in column 'completion'"),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_bad_row_is_named(row: dict, reason: str, kind: str, tmp_path: Path) -> None:
    from astraios.data.sources import SOURCES
    from astraios.errors import DataError

    good = {"prompt": "p", "completion": "c"}
    path = tmp_path / f"pairs.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in (good, good, row)))
    else:
        import pyarrow as pa
        from pyarrow import parquet

        if set(row) != set(good):
            reason = reason.replace("row 3", "row 1")
            rows = [row, row]
        else:
            rows = [good, good, row]
        parquet.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(DataError, match=reason):
        SOURCES.get("table").load({"path": str(path)})


@pytest.mark.parametrize("method_id", ["fft", "ln"])
def test_half_precision_bases_are_tuned_in_float32(
    method_id: str, small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    text = sweep_toml(small_models[:1], pairs_file, methods=[method_id], tasks=[])
    text = text.replace('dtype = "float32"', 'dtype = "bfloat16"').split("[method.fft]")[0]
    sweep = Sweep.from_toml(text + f"[method.{method_id}]\nlearning_rate = 1e-5\n", "x")
    [cell] = sweep.cells()
    run_cell(cell, sweep.to_json(), tmp_path, device="cpu")
    points = RunDirectory(tmp_path / cell.run_id).losses()
    test = [p.loss_nats for p in points if p.split == "test"]
    assert len(set(test)) == len(test), "steps of 1e-5 are not lost in rounding"
    stored = list((tmp_path / cell.run_id / "adapter").glob("*.safetensors"))
    assert stored


def test_recomputed_activations_give_the_same_losses(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"], tasks=[])
    curves = []
    for change in ("", "gradient_checkpointing = true"):
        sweep = Sweep.from_toml(text.replace("[train]", f"[train]\n{change}"), "x")
        [cell] = sweep.cells()
        run_cell(cell, sweep.to_json(), tmp_path, device="cpu")
        curves.append([p.loss_nats for p in RunDirectory(tmp_path / cell.run_id).losses()])
    assert curves[0] == pytest.approx(curves[1], abs=1e-6), "dropout's masks among them"


def test_attention_is_chosen_and_what_is_missing_is_named(
    small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"], tasks=[])
    curves, ids = [], []
    for name in ("sdpa", "eager"):
        sweep = Sweep.from_toml(text.replace("[train]", f'[train]\nattention = "{name}"'), "x")
        [cell] = sweep.cells()
        run_cell(cell, sweep.to_json(), tmp_path, device="cpu")
        curves.append([p.loss_nats for p in RunDirectory(tmp_path / cell.run_id).losses()])
        ids.append(cell.run_id)
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)
    assert len({*ids, Sweep.from_toml(text, "x").cells()[0].run_id}) == 3
    flash = collect(text.replace("[train]", '[train]\nattention = "flash_attention_2"'), tmp_path / "flash")
    state, error = flash["lora"]
    assert state == "failed"
    assert re.search(r"\[train\] attention can't be had.*sdpa", str(error)), error


def test_a_shared_model_takes_no_quantized_base(small_models: list[str], pairs_file: Path) -> None:
    from astraios.models.methods import METHODS

    text = sweep_toml(small_models[:1], pairs_file, methods=["lora", "adalora"])
    shared = text.replace("[train]", "[train]\nprocesses = 2\nfsdp = true").replace(
        "micro_batch = 2", "micro_batch = 1"
    )
    lora, adalora = Sweep.from_toml(shared, "x").cells()
    METHODS.get("lora").check_shards(lora.train.quantization)
    with pytest.raises(CellError, match="whole matrices"):
        METHODS.get("adalora").check_shards(adalora.train.quantization)
    [eight, _] = Sweep.from_toml(shared.replace('quantization = "none"', 'quantization = "8bit"'), "x").cells()
    with pytest.raises(CellError, match='quantization = "none"'):
        METHODS.get("lora").check_shards(eight.train.quantization)
    with pytest.raises(UsageError, match="processes = 2"):
        Sweep.from_toml(shared.replace("micro_batch = 1", "micro_batch = 2"), "x")
    with pytest.raises(UsageError, match="set processes to 2"):
        Sweep.from_toml(text.replace("[train]", "[train]\nfsdp = true"), "x")
