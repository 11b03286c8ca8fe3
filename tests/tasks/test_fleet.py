"""vLLM engines on a real Ray cluster of this machine; the package itself, which needs a GPU, is a stand-in."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from astraios.errors import CellError, StoreError, UsageError
from astraios.evaluate.generate import fleet
from astraios.evaluate.generate.requests import Request, stream_seed
from astraios.evaluate.model import identity, load
from astraios.evaluate.options import Subject
from astraios.evaluate.tasks import Decoding
from tests.conftest import REPOSITORY, assert_one_line, run_cli

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'astraios[ray]'"
)

STAND_IN = """
import os
from types import SimpleNamespace

FOLDER = os.environ["STAND_IN"]


class Words:
    eos_token_id = 0

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [ord(letter) for letter in text]}


class LLM:
    def __init__(self, model, **options):
        if model == "some/broken":
            raise ValueError("no such weights")
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=64))
        with open(f"{FOLDER}/engines", "a") as file:
            file.write(f"{os.getpid()} {model}\\\\n")

    def get_tokenizer(self):
        return Words()

    def generate(self, prompts, settings, lora_request=None, use_tqdm=True):
        with open(f"{FOLDER}/asked", "a") as file:
            file.write(f"{os.getpid()} {len(prompts)}\\\\n")
        try:
            os.remove(f"{FOLDER}/die")
        except FileNotFoundError:
            pass
        else:
            os._exit(9)
        return [
            SimpleNamespace(outputs=[SimpleNamespace(text=f"{one.seed} {one.max_tokens}", finish_reason="length")])
            for one in settings
        ]


def SamplingParams(**fields):
    return SimpleNamespace(**fields)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which stand-in engines write down what they are asked."""
    package = tmp_path / "packages" / "vllm"
    (package / "lora").mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN.replace("\\\\n", "\\n"))
    (package / "lora" / "__init__.py").write_text("")
    (package / "lora" / "request.py").write_text("LoRARequest = tuple\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "packages"), str(REPOSITORY)]))
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    yield tmp_path
    import ray

    ray.shutdown()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_engines_share_the_samples_and_one_is_lost(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "CHUNK", 4)
    tuned = load(Subject(model="some/model", ray="here", engines=2, device="cpu", seed=5))
    assert tuned.n_positions == 64
    assert tuned.generator is not None
    (stand_in / "die").touch()
    wanted = [Request(f"item{i}", k, "def f():") for i in range(20) for k in range(3)]
    found = list(tuned.generator(Decoding(n_samples=3, temperature=0.2, max_length=40)).run(wanted))
    assert sorted((r.item_id, r.sample) for r, _ in found) == sorted((r.item_id, r.sample) for r in wanted)
    assert all(answer == f"{stream_seed(5, r.item_id, r.sample)} 32" for r, answer in found)
    assert not (stand_in / "die").exists(), "an engine ended in the middle of its samples"
    assert len(lines(stand_in / "asked")) == 16, "15 chunks, one of them twice"
    engines = tuned.generator.__self__  # type: ignore[attr-defined]
    assert len(engines.idle) + len(engines.starting) == 2, "another was started in its place"


def test_answers_of_two_engines_are_kept_apart() -> None:
    """What is left to us is one of the two, and so counts as it."""
    here, cluster = Subject(model="some/model", engine="transformers"), Subject(model="some/model", ray="auto")
    assert identity(here) != identity(cluster)
    assert identity(cluster) == identity(Subject(model="some/model", engine="vllm"))
    assert identity(Subject(model="some/model")) in (identity(here), identity(cluster))


def test_what_can_not_be_had_is_one_line(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CellError, match="vLLM can't load some/broken: no such weights"):
        load(Subject(model="some/broken", ray="here", device="cpu"))
    with pytest.raises(UsageError, match="--engines 0"):
        load(Subject(model="some/model", ray="here", engines=0, device="cpu"))
    with pytest.raises(UsageError, match="leave --engine transformers away"):
        load(Subject(model="some/model", ray="here", engine="transformers"))
    with pytest.raises(StoreError, match=r"--ray: no cluster at 127\.0\.0\.1:1 "):
        load(Subject(model="some/model", ray="127.0.0.1:1"))
    import ray

    ray.shutdown()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(CellError, match="an engine needs 1 GPU, and the cluster has 0"):
        load(Subject(model="some/model", ray="here"))


def test_the_command_takes_a_cluster(stand_in: Path) -> None:
    (stand_in / "adapter").mkdir()
    (stand_in / "adapter" / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}))
    odd = run_cli("evaluate", "some/model", "--task", "devign", "--ray", "here", "--device", "cpu",
                  "--adapter", stand_in / "adapter", "--dry-run", "--out", stand_in / "out")  # fmt: skip
    assert_one_line(odd, 1, "vLLM does not apply IA3")
