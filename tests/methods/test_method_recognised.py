"""An adapter that astraios saves says by its configuration which method made it, and with which settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("peft")
from transformers import AutoConfig

from astraios.models.methods import METHODS, recognise

NF4 = {"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}


@pytest.mark.parametrize("name", [name for name in METHODS.names() if name != "fft"])
def test_what_a_method_saves_is_recognised_as_its_own(name: str, tmp_path: Path) -> None:
    base = AutoConfig.for_model("gpt_bigcode", n_embd=64, n_layer=1, n_head=2, vocab_size=64)
    method = METHODS.get(name)
    settings = method.with_defaults({})
    method.peft_config(base, settings, 2000).save_pretrained(str(tmp_path))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    told = recognise({**config, **NF4} if name == "qlora" else config)
    assert told is not None
    assert told[0] == name
    for setting, value in told[1].items():
        if settings[setting] is not None and not setting.endswith("_modules"):
            assert value == settings[setting], setting
    assert set(told[1]) <= set(settings)
    assert len(told[1]) >= min(1, len(settings))


def test_a_whole_model_is_no_adapter() -> None:
    assert recognise({"model_type": "gpt_bigcode"}) is None
