"""What all tests share: the shared data, small real models on disk, and the promises that `make verify` prints."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--verify", action="store_true", help="run the long tests too and print which promises held")


TOGETHER = ("browser", "collect", "store", "execute")
"""Rooms whose tests share what takes long to make, or wait for each other: with `-n 2` one process runs all of a room.
The longest first; then file by file."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Rooms(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return room if (room := Path(file).parent.name) in TOGETHER else file

    config.option.loadscopereorder = False
    return Rooms(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: TOGETHER.index(room) if (room := item.path.parent.name) in TOGETHER else len(TOGETHER))
    if config.getoption("--verify"):
        return
    skip = pytest.mark.skip(reason="long: run by `make verify`")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


_OUTCOMES: dict[str, list[tuple[str, str]]] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    report.promises = [str(mark.args[0]) for mark in item.iter_markers("promise")]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        for promise in getattr(report, "promises", ()):
            _OUTCOMES.setdefault(promise, []).append((report.nodeid, report.outcome))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--verify"):
        return
    terminalreporter.section("what users rely on")
    for promise, results in sorted(_OUTCOMES.items()):
        outcomes = {outcome for _, outcome in results}
        held = "FAILED" if "failed" in outcomes else "skipped" if outcomes == {"skipped"} else "held"
        if held == "held" and "skipped" in outcomes:
            held = "held in part (some skipped)"
        names = ", ".join(dict.fromkeys(node.split("::")[-1].split("[")[0] for node, _ in results))
        terminalreporter.write_line(f"{held:<28} {promise}: {names}")


def docs_script(name: str) -> ModuleType:
    """A program of docs/, as a module."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("ASTRAIOS_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"shared data not found at {folder}: set ASTRAIOS_SHARED")
    return folder


@pytest.fixture(scope="session", autouse=True)
def new_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """New databases of this process begin as a copy of one that was made as a user's is: that takes half a second."""
    from astraios import store
    from astraios.store import connect
    from astraios.store.publish import copy

    empty = tmp_path_factory.mktemp("empty") / "empty.duckdb"
    with store.writing(empty):
        pass
    new_version = connect.new_version

    @contextmanager
    def begun(path: Path, *, anew: bool = False) -> Iterator[Path]:
        with new_version(path, anew=anew) as work:
            if not work.exists():
                copy(empty, work)
            yield work

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connect, "new_version", begun)
        yield


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three real GPTBigCode models with random weights and a byte-level tokenizer, as local paths."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={"<|endoftext|>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>")
    found = []
    for width in (16, 24, 32):
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            "gpt_bigcode", vocab_size=257, n_positions=192, n_embd=width, n_layer=2, n_head=2, n_inner=4 * width
        )
        folder = tmp_path_factory.mktemp("models") / f"width-{width}"
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found.append(str(folder))
    return found


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instruction pairs with something to learn, as JSONL."""
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [
        {"prompt": f"Add {i} to x.", "completion": f"def add_{i}(x):\n    y = x + {i}\n    return y"}
        for i in range(200)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sweep_toml(models: list[str], pairs: Path, **changes: object) -> str:
    """A sweep of seconds over local models."""
    fields = {
        "methods": ["fft", "lora"],
        "seeds": [0],
        "tasks": ["next-token"],
        "steps": 6,
        "workers": 2,
        **changes,
    }
    return f"""
name = "small"
models = {json.dumps(models)}
methods = {json.dumps(fields["methods"])}
seeds = {json.dumps(fields["seeds"])}
tasks = {json.dumps(fields["tasks"])}
[data]
source = "table"
path = {json.dumps(str(pairs))}
prompt_format = "Question: {{prompt}}\\n\\nAnswer:\\n{{completion}}"
sequence_length = 128
test_blocks = 4
train_eval_blocks = 4
[train]
steps = {fields["steps"]}
batch_size = 2
micro_batch = 2
warmup_steps = 1
eval_every = 2
log_every = 2
checkpoint_every = 2
dtype = "float32"
quantization = "none"
[compute]
device = "cpu"
workers = {fields["workers"]}
[method.fft]
learning_rate = 5e-3
[method.lora]
learning_rate = 1e-2
"""


@pytest.fixture
def small_sweep(small_models: list[str], pairs_file: Path, tmp_path: Path) -> Path:
    """A sweep of six cells that takes seconds, as a TOML file."""
    path = tmp_path / "small.toml"
    path.write_text(sweep_toml(small_models, pairs_file))
    return path


def run_cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in this process: what the entry point prints and how it ends."""
    from astraios import cli

    words = ["astraios", *map(str, arguments)]
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", words)
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    out.flush()
    return subprocess.CompletedProcess(words, code, out.buffer.getvalue().decode(), err.getvalue())


def run_process(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "astraios.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def assert_one_line(result: subprocess.CompletedProcess[str], code: int, pattern: str) -> None:
    """An error as users are to meet it: one line, the right exit code, no traceback."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("astraios: ")]
    assert len(lines) == 1, result.stderr
    assert re.search(pattern, lines[0]), lines[0]
