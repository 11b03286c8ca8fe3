"""Base models are found by name, hub id or directory; what can't be had is one line."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import pytest

from astraios.errors import CellError, MissingExtraError, UsageError
from astraios.models.ladders import LADDERS, resolve


@pytest.mark.parametrize("asked", ["1B", "1b", "starcoderbase/1B", "bigcode/starcoderbase-1b"])
def test_starcoderbase_by_any_of_its_names(asked) -> None:
    ladder, rung = resolve(asked)
    assert (ladder.name, rung.model_id, rung.name) == ("starcoderbase", "bigcode/starcoderbase-1b", "1B")


def test_starcoderbase_is_in_order() -> None:
    rungs = LADDERS.get("starcoderbase").rungs()
    assert [rung.name for rung in rungs] == ["1B", "3B", "7B", "16B"]
    assert rungs[-1].model_id == "bigcode/starcoderbase"


def test_any_other_hub_id_is_the_hubs() -> None:
    ladder, rung = resolve("someone/model@abc123")
    assert (ladder.name, rung.model_id, rung.revision) == ("hub", "someone/model", "abc123")


@pytest.mark.parametrize("asked", ["tiny/66k", "66K", "TINY/66k", "tiny/66k-s3"])
def test_tiny_by_any_of_its_names(asked: str) -> None:
    seed = "-s3" if asked.endswith("-s3") else ""
    ladder, rung = resolve(asked)
    assert (ladder.name, rung.model_id, rung.name) == ("tiny", f"tiny/66k{seed}", f"66k{seed}")
    assert rung.revision == LADDERS.get("tiny").revision(f"tiny/66k{seed}")


def test_other_models_are_found_without_reading_what_tiny_ones_are_pretrained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quarter of what the process of a cell did before it trained was to describe models that nobody had named."""
    monkeypatch.setattr("astraios.models.ladders.tiny.revision", lambda recipe: pytest.fail("read"))
    assert resolve("someone/model")[0].name == "hub"


@pytest.mark.parametrize("asked", ["2B", "gpt2x", "./nowhere/model", "a/b/c"])
def test_what_is_no_model_is_one_line(asked) -> None:
    with pytest.raises(UsageError, match="unknown base model") as error:
        resolve(asked)
    assert "\n" not in str(error.value)


def test_finding_models_imports_no_torch() -> None:
    code = (
        "import sys; from astraios.models.ladders import resolve; from astraios.models.methods import METHODS; "
        "resolve('7B'); METHODS.names(); import astraios.train.flops; "
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert found.stdout.strip() == "[]"


def test_starcoderbase_configuration_is_known_offline() -> None:
    pytest.importorskip("transformers", reason="needs the extra astraios[train]")
    config = LADDERS.get("starcoderbase").config("16B")
    assert (config.model_type, config.hidden_size, config.num_hidden_layers) == ("gpt_bigcode", 6144, 40)
    assert (config.multi_query, config.max_position_embeddings, config.eos_token_id) == (True, 8192, 0)


def test_a_hub_that_cannot_be_reached(monkeypatch) -> None:
    pytest.importorskip("transformers", reason="needs the extra astraios[train]")
    monkeypatch.setattr("astraios.hub.no_network", lambda: True)
    ladder, rung = resolve("someone/no-such-model-here")
    for call in (ladder.load, ladder.config):
        with pytest.raises(CellError, match="can't be loaded from the hub") as error:
            call(rung.model_id)
        assert "\n" not in str(error.value)


def test_a_directory_that_is_broken(tmp_path) -> None:
    pytest.importorskip("transformers", reason="needs the extra astraios[train]")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-type"}))
    ladder, rung = resolve(str(tmp_path))
    with pytest.raises(CellError, match="can't be loaded") as error:
        ladder.load(rung.model_id)
    assert "\n" not in str(error.value)


@pytest.mark.promise("what can't be trained is said in one line")
def test_a_directory_without_a_tokenizer(small_models, tmp_path) -> None:
    shutil.copytree(small_models[0], tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*", "special*"))
    ladder, rung = resolve(str(tmp_path / "bare"))
    with pytest.raises(CellError, match=r"the tokenizer in .*bare can't be loaded: .* be there beside the weights"):
        ladder.load(rung.model_id)


@pytest.mark.promise("what can't be trained is said in one line")
def test_a_directory_that_does_not_fit_the_device(small_models, monkeypatch) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    def run_out(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 30 GiB.")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", run_out)
    ladder, rung = resolve(small_models[0])
    with pytest.raises(CellError, match=r'does not fit the device\'s memory: set train.quantization = "8bit"'):
        ladder.load(rung.model_id)


@pytest.mark.promise("what can't be trained is said in one line")
def test_quantization_that_cannot_be_had(monkeypatch) -> None:
    pytest.importorskip("transformers", reason="needs the extra astraios[train]")
    from astraios.models.ladders.hub import quantization_config

    with pytest.raises(UsageError, match=r"unknown train\.quantization"):
        quantization_config("3bit")
    assert quantization_config(None) is None
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name))
    with pytest.raises(MissingExtraError, match=r"train.quantization = '8bit' needs the package bitsandbytes"):
        quantization_config("8bit")


def test_quantization_as_asked() -> None:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    from astraios.models.ladders.hub import quantization_config

    assert quantization_config("8bit").load_in_8bit
    nf4 = quantization_config("nf4", "bfloat16")
    assert (nf4.bnb_4bit_quant_type, str(nf4.bnb_4bit_compute_dtype)) == ("nf4", "torch.bfloat16")
