"""Cells whose answers come from vLLM; the package, which needs a GPU, is a stand-in that loads what it is told to."""

from __future__ import annotations

import json
import os
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from astraios import store  # noqa: E402
from astraios.collect.cell import serving  # noqa: E402
from astraios.collect.cell.run import run_cell  # noqa: E402
from astraios.collect.cell.training import Training  # noqa: E402
from astraios.collect.plan.compute import KeepSpec  # noqa: E402
from astraios.collect.plan.engine import in_words, unserved  # noqa: E402
from astraios.collect.plan.sweep import Cell, Sweep  # noqa: E402
from astraios.collect.run import plan  # noqa: E402
from astraios.errors import CellError  # noqa: E402
from astraios.models.ladders import resolve  # noqa: E402
from astraios.models.methods import METHODS  # noqa: E402
from astraios.records import TaskResult  # noqa: E402
from astraios.runs.directory import RunDirectory  # noqa: E402
from tests.collect.test_evaluation_plan import gold  # noqa: E402
from tests.conftest import assert_one_line, run_cli, sweep_toml  # noqa: E402

PROMISE = "cells generate through vLLM where it serves the very model, and what generated is recorded"
STAND_IN = """
from types import SimpleNamespace

started, on_start = [], lambda: None


class LLM:
    def __init__(self, model, enable_lora=False, max_lora_rank=None, **options):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        on_start()
        started.append({"model": model, "enable_lora": enable_lora, **options})
        self.base = AutoModelForCausalLM.from_pretrained(model, dtype=options["dtype"]).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=self.base.config.n_positions))

    def get_tokenizer(self):
        return self.tokenizer

    def generate(self, prompts, settings, lora_request=None, use_tqdm=True):
        from peft import PeftModel

        model = PeftModel.from_pretrained(self.base, lora_request[2]) if lora_request else self.base
        return [self.one(model, ids["prompt_token_ids"], how) for ids, how in zip(prompts, settings)]

    def one(self, model, ids, how):
        import torch

        assert how.temperature == 0
        done = model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False,
            max_new_tokens=how.max_tokens, pad_token_id=0, eos_token_id=0,
        )[0][len(ids):]
        text = self.tokenizer.decode(done, skip_special_tokens=True)
        ended = len(done) and int(done[-1]) == 0
        return SimpleNamespace(outputs=[SimpleNamespace(
            text=text, finish_reason="stop" if ended else "length", stop_reason=None)])


def SamplingParams(**fields):
    return SimpleNamespace(**fields)
"""


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in, as an installed package."""
    package = tmp_path / "packages" / "vllm"
    (package / "lora").mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN)
    (package / "lora" / "__init__.py").write_text("")
    (package / "lora" / "request.py").write_text("def LoRARequest(*fields):\n    return fields\n")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    for name in ("VLLM_WORKER_MULTIPROC_METHOD", "VLLM_ENABLE_V1_MULTIPROCESSING"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    import vllm

    yield vllm
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


def sweep_of(models: list[str], pairs: Path, folder: Path, methods: list[str], engine: str, changes: str = "") -> Sweep:
    """Cells that are scored on a task of likelihoods and on one that is generated."""
    text = sweep_toml(models[:1], pairs, methods=methods, tasks=["next-token", "humaneval"])
    (folder / "gold").mkdir(exist_ok=True)
    data = json.dumps(str(gold(folder / "gold")))
    return Sweep.from_toml(f'{text}{changes}\n[task]\ndata_dir = {data}\nworkers = 1\nengine = "{engine}"\n', "x")


def run(sweep: Sweep, cell: Cell, out: Path) -> TaskResult:
    """What a cell was given for the generated task."""
    run_cell(cell, sweep.to_json(), out, device="cpu")
    found = RunDirectory(out / cell.run_id).read_task("humaneval")
    assert found is not None
    return found[0]


@pytest.mark.promise(PROMISE)
@pytest.mark.parametrize("method_id", ["lora", "rslora", "fft"])
def test_vllm_serves_what_was_tuned_once_nothing_holds_it(
    method_id: str, small_models: list[str], pairs_file: Path, tmp_path: Path, vllm: Any, monkeypatch: Any
) -> None:
    """The same greedy answers as the model in memory gives, from the base and the adapter that the run keeps."""
    sweep = sweep_of(small_models, pairs_file, tmp_path, [method_id], "vllm")
    [cell] = sweep.cells()
    held: list[Any] = []
    load, build = Training.load_base, torch.optim.AdamW.__init__

    def noted(self: Training, *rest: Any, **more: Any) -> Any:
        base, tokenizer = load(self, *rest, **more)
        held.extend(weakref.ref(one) for one in (base, *base.parameters()))
        return base, tokenizer

    def built(self: Any, *rest: Any, **more: Any) -> None:
        build(self, *rest, **more)
        held.append(weakref.ref(self))

    monkeypatch.setattr(Training, "load_base", noted)
    monkeypatch.setattr(torch.optim.AdamW, "__init__", built)
    alive: list[int] = []
    vllm.on_start = lambda: alive.append(sum(one() is not None for one in held))
    served = run(sweep, cell, tmp_path / "served")
    assert len(held) > 20
    assert alive == [0], "the trained model, its base and the optimizer are gone before vLLM starts"
    adapter = tmp_path / "served" / cell.run_id / "adapter"
    [how] = vllm.started
    assert how["model"] == (str(adapter) if method_id == "fft" else small_models[0])
    assert how["enable_lora"] == (method_id != "fft")
    assert how["dtype"] == "float32"
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0", "a cell that is killed takes its engine with it"

    here = sweep_of(small_models, pairs_file, tmp_path, [method_id], "transformers")
    known = run(here, here.cells()[0], tmp_path / "here")
    assert here.cells()[0].run_id == cell.run_id, "which engine scores is no part of what is trained"
    assert known.scores == served.scores
    texts = [
        json.loads(next((tmp_path / way / cell.run_id / "tasks").rglob("generations.jsonl")).read_text())["samples"]
        for way in ("served", "here")
    ]
    assert texts[0] == texts[1]
    assert texts[0][0].strip()
    assert (served.settings["engine"], served.settings["asked"]) == ("vllm", {"engine": "vllm", **_limits(known)})
    assert known.settings["engine"] == "transformers"
    folders = {path.relative_to(tmp_path / "served" / cell.run_id).parts[:2] for path in _answers(tmp_path / "served")}
    assert folders == {("tasks", "vllm")}, "answers of two engines are kept apart"
    start = len(vllm.started)
    run(sweep, cell, tmp_path / "served")
    assert len(vllm.started) == start, "what is scored is not scored again"


def _limits(known: TaskResult) -> dict[str, Any]:
    return {name: value for name, value in known.settings["asked"].items() if name != "engine"}


def _answers(folder: Path) -> list[Path]:
    return list(folder.rglob("answers*.jsonl"))


@pytest.mark.promise(PROMISE)
def test_what_vllm_can_not_serve_is_answered_in_memory_and_said(
    small_models: list[str], pairs_file: Path, tmp_path: Path, vllm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ["lora", "ptuning", "ia3", "adapterh", "dora", "pissa", "adalora"]
    sweep = sweep_of(small_models, pairs_file, tmp_path, methods, "auto")
    reasons = {cell.method_id: unserved(cell, sweep.keep) for cell in sweep.cells()}
    assert reasons.pop("lora") is None
    assert reasons == {
        "ptuning": "vLLM does not apply P_TUNING",
        "ia3": "vLLM does not apply IA3",
        "adapterh": "vLLM does not apply BOTTLENECK",
        "dora": "vLLM does not apply LoRA with use_dora",
        "pissa": "vLLM does not apply LoRA with init_lora_weights = 'pissa'",
        "adalora": "vLLM does not apply ADALORA",
    }
    cell = next(cell for cell in sweep.cells() if cell.method_id == "ptuning")
    on_gpu = serving.shared_out(cell, sweep.keep, "cuda:0")
    assert on_gpu == ([], {"humaneval": reasons["ptuning"]})
    monkeypatch.setattr("astraios.collect.cell.run.shared_out", lambda *_: on_gpu)
    answered = run(sweep, cell, tmp_path / "runs")
    assert (answered.settings["engine"], answered.settings["engine_reason"]) == ("transformers", reasons["ptuning"])
    assert not vllm.started


@pytest.mark.promise(PROMISE)
def test_auto_takes_vllm_where_it_is_and_the_model_is_the_same(
    small_models: list[str], pairs_file: Path, tmp_path: Path, vllm: Any
) -> None:
    sweep = sweep_of(small_models, pairs_file, tmp_path, ["lora"], "auto")
    [cell] = sweep.cells()
    assert serving.shared_out(cell, KeepSpec(), "cuda") == (["humaneval"], {})
    assert serving.shared_out(cell, KeepSpec(), "cpu") == ([], {"humaneval": "vLLM wants a GPU"})
    assert "[keep]" in str(unserved(cell, KeepSpec(adapters=False)))
    for quantization in ("8bit", "nf4"):
        changes = f'\nquantization = "{quantization}"\n'
        other = sweep_of(small_models, pairs_file, tmp_path, ["lora"], "auto", changes).cells()[0]
        assert unserved(other, KeepSpec()) == f"vLLM can't serve the {quantization} base that it is tuned on"
    along = sweep_of(small_models, pairs_file, tmp_path, ["lora"], "auto", "\nscore_every = 2\n").cells()[0]
    assert unserved(along, KeepSpec()) == "[train] score_every scores with the model in memory"


def test_every_method_is_served_or_says_why(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    """Without a word none is left aside, and none is taken that changes more than LoRA's two matrices."""
    sweep = sweep_of(small_models, pairs_file, tmp_path, METHODS.names(), "auto")
    served = {cell.method_id for cell in sweep.cells() if unserved(cell, KeepSpec()) is None}
    assert served == {"fft", "lora", "qlora", "rslora"} & set(METHODS.names())


@pytest.mark.promise(PROMISE)
def test_a_model_that_vllm_can_not_load_is_scored_in_memory_again(
    small_models: list[str], pairs_file: Path, tmp_path: Path, vllm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ValueError("GPTBigCode has no LoRA here\nand more")

    vllm.on_start = broken
    monkeypatch.setattr("astraios.collect.plan.engine.absent", lambda device: None)
    monkeypatch.setattr(serving, "absent", lambda device: None)
    sweep = sweep_of(small_models, pairs_file, tmp_path, ["lora"], "auto")
    [cell] = sweep.cells()
    found = run(sweep, cell, tmp_path / "runs")
    assert found.settings["engine"] == "transformers"
    reason = f"vLLM can't load {small_models[0]}: GPTBigCode has no LoRA here"
    assert found.settings["engine_reason"] == reason
    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "runs")
    rows = store.query(db, "select task_id, engine from final_score order by all").unique(maintain_order=True).rows()
    assert rows == [("humaneval", "transformers"), ("next-token", None)]

    by_name = sweep_of(small_models, pairs_file, tmp_path, ["lora"], "vllm")
    with pytest.raises(CellError, match="has no LoRA here"):
        run(by_name, by_name.cells()[0], tmp_path / "runs")


@pytest.mark.promise(PROMISE)
def test_vllm_by_name_is_refused_before_anything_is_trained(
    small_models: list[str], pairs_file: Path, tmp_path: Path, vllm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(small_models, pairs_file, tmp_path, ["lora", "ia3"], "vllm")
    lora, ia3 = plan(sweep, [])
    assert lora.problem is None
    line = '[task.humaneval] engine = "vllm": vLLM does not apply IA3: set engine = "transformers", or "auto", which'
    assert ia3.problem is not None
    assert ia3.problem.startswith(line)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CellError, match="vLLM is not installed"):
        run(sweep, lora.cell, tmp_path / "runs")
    assert not RunDirectory(tmp_path / "runs" / lora.cell.run_id).losses()


@pytest.mark.promise(PROMISE)
def test_checkpoints_of_a_run_that_vllm_scored_are_not_mixed_with_it(
    small_models: list[str], pairs_file: Path, tmp_path: Path, vllm: Any
) -> None:
    sweep = sweep_of(small_models, pairs_file, tmp_path, ["lora"], "vllm", "\n[keep]\ncheckpoints = true\n")
    [cell] = sweep.cells()
    run(sweep, cell, tmp_path / "runs")
    command = ("evaluate", tmp_path / "runs" / cell.run_id, "--checkpoints", "--task", "humaneval", "--dry-run")
    assert_one_line(run_cli(*command), 1, "humaneval were generated by vLLM.*--engine transformers")
    assert_one_line(run_cli(*command, "--engine", "vllm"), 2, "--checkpoints .* in memory")
    assert run_cli(*command, "--engine", "transformers").returncode == 0


def test_other_programs_find_a_base_where_its_ladder_keeps_it(small_models: list[str]) -> None:
    """`astraios evaluate tiny/66k --engine vllm` names a folder: vLLM knows no ladders."""
    ladder, rung = resolve("66k")
    found = ladder.source(rung.model_id)
    assert found is not None
    folder, revision = found
    assert (Path(folder).parent.name, Path(folder).name, revision) == ("tiny", rung.revision, None)
    for model_id, source in (
        (small_models[0], (small_models[0], None)),
        ("bigcode/starcoderbase-1b@v1.0", ("bigcode/starcoderbase-1b", "v1.0")),
        ("a/b", ("a/b", None)),
    ):
        assert resolve(model_id)[0].source(model_id) == source


@pytest.mark.promise(PROMISE)
def test_a_plan_says_what_will_generate(small_models: list[str], pairs_file: Path, tmp_path: Path, vllm: Any) -> None:
    for engine, said in (
        ("auto", ["answers of 2 cells are generated by transformers (vLLM wants a GPU)"]),
        ("transformers", ["answers of 2 cells are generated by transformers, as asked"]),
        ("vllm", ["answers of 1 cells are generated by vLLM"]),
    ):
        sweep = sweep_of(small_models, pairs_file, tmp_path, ["lora", "ia3"], engine)
        assert in_words(plan(sweep, []), sweep.keep, is_here=True) == said
    sweep = sweep_of(small_models, pairs_file, tmp_path, ["lora", "ia3"], "auto")
    assert in_words(plan(sweep, []), sweep.keep, is_here=False) == [
        "answers of 1 cells are generated by transformers (vLLM does not apply IA3)",
        "answers of 1 cells are generated by vLLM where it is installed, else by transformers",
    ]
    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"], tasks=["next-token"])
    (tmp_path / "s.toml").write_text(text)
    told = run_cli("collect", tmp_path / "s.toml", "--dry-run", "--db", tmp_path / "a.duckdb", "--out", tmp_path / "r")
    assert "generated by" not in told.stderr, "nothing is generated"
    (tmp_path / "s.toml").write_text(text.replace("next-token", "humaneval"))
    told = run_cli("collect", tmp_path / "s.toml", "--dry-run", "--db", tmp_path / "a.duckdb", "--out", tmp_path / "r")
    assert "answers of 1 cells are generated by transformers (vLLM wants a GPU)" in told.stderr
