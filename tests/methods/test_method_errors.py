# ruff: noqa: E402
"""What can't be trained is one line that names the field to change."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra astraios[train]")
pytest.importorskip("peft", reason="needs the extra astraios[train]")

from transformers import AutoConfig, AutoModelForCausalLM
from tuning_helpers import attached, base

from astraios.errors import AstraiosError, CellError, UsageError
from astraios.models.counting import count_parameters
from astraios.models.methods import METHODS


def _one_line(error: pytest.ExceptionInfo[AstraiosError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.promise("what can't be trained is said in one line")
@pytest.mark.parametrize(
    ("name", "modules", "says"),
    [
        ("lora", ["c_attn", "c_proj", "q_attn"], "method.lora.target_modules: 'q_attn' matches no module"),
        ("lora", ".*nothing", "method.lora.target_modules: '.*nothing' matches no module"),
        ("lora", "(", "method.lora.target_modules '(' is no regular expression"),
        ("adapterp", ["mlp.down"], "method.adapterp.target_modules: 'mlp.down' matches no module"),
        ("boft", ["q_attn"], "method.boft.target_modules: 'q_attn' matches no module"),
        ("ln", ["norm"], "method.ln.target_modules: 'norm' matches no module"),
    ],
)
def test_a_module_that_matches_nothing(bases, name, modules, says) -> None:
    with pytest.raises(UsageError) as error:
        attached(bases["gpt_bigcode"], name, {"target_modules": modules})
    assert says in _one_line(error)
    config = base(bases["gpt_bigcode"]).config
    method = METHODS.get(name)
    with pytest.raises(UsageError):  # the plan says so too, before anything is loaded
        count_parameters(config, method, method.with_defaults({"target_modules": modules}), 20)


def test_the_line_lists_what_there_is(bases) -> None:
    with pytest.raises(UsageError, match=r"it has .*attn\.c_attn.*mlp\.c_fc"):
        attached(bases["gpt_bigcode"], "lora", {"target_modules": ["query"]})


@pytest.mark.promise("what can't be trained is said in one line")
@pytest.mark.parametrize("name", ["lora", "ia3", "adapterh", "adapterp", "parallel", "adalora", "vera"])
def test_an_architecture_nobody_knows(name) -> None:
    config = AutoConfig.for_model("mpt", d_model=32, n_heads=4, n_layers=1, vocab_size=64, max_seq_len=64)
    config.model_type = "novel"
    method = METHODS.get(name)
    with pytest.raises(UsageError) as error:
        method.peft_config(config, method.with_defaults({}), 20)
    assert f"method.{name}.target_modules" in _one_line(error)


def test_an_unknown_architecture_works_once_its_modules_are_named() -> None:
    config = AutoConfig.for_model("mpt", d_model=32, n_heads=4, n_layers=1, vocab_size=64, max_seq_len=64)
    for name, overrides in (
        ("lora", {"target_modules": ["Wqkv"]}),
        ("adapterh", {"target_modules": ["up_proj", "down_proj"], "input_modules": ["up_proj"]}),
        ("parallel", {"target_modules": ["Wqkv"]}),
    ):
        method = METHODS.get(name)
        model = AutoModelForCausalLM.from_config(config)
        tuned = method.attach(model, method.with_defaults(overrides), 20)
        assert sum(p.numel() for p in tuned.parameters() if p.requires_grad) > 0


@pytest.mark.promise("what can't be trained is said in one line")
@pytest.mark.parametrize(
    ("name", "overrides", "says"),
    [
        ("lora", {"rnak": 4}, "did you mean 'rank'"),
        ("lora", {"rank": 0}, "method.lora.rank"),
        ("lora", {"rank": "8"}, "method.lora.rank"),
        ("lora", {"dropout": 1.5}, "method.lora.dropout"),
        ("lora", {"target_modules": 3}, "method.lora.target_modules"),
        ("adapterh", {"bottleneck_size": -1}, "method.adapterh.bottleneck_size"),
        ("prompt", {"n_virtual_tokens": 0}, "method.prompt.n_virtual_tokens"),
        ("fft", {"rank": 4}, "known: none"),
    ],
)
def test_a_wrong_setting(name, overrides, says) -> None:
    with pytest.raises(UsageError) as error:
        METHODS.get(name).with_defaults(overrides)
    assert says in _one_line(error)


@pytest.mark.parametrize(
    ("name", "overrides", "says"),
    [
        ("adapterh", {"non_linearity": "tang"}, "non_linearity 'tang'"),
        ("ptuning", {"encoder": "GRU"}, "method.ptuning.encoder"),
        ("adalora", {"schedule": "later"}, "method.adalora.schedule"),
        ("oft", {"block_size": 5}, "oft"),
        ("ia3", {"feedforward_modules": ["c_fc"]}, "feedforward_modules"),
    ],
)
def test_a_setting_out_of_range(bases, name, overrides, says) -> None:
    with pytest.raises(AstraiosError) as error:
        attached(bases["gpt_bigcode"], name, overrides)
    assert says in _one_line(error)


@pytest.mark.promise("what can't be trained is said in one line")
def test_a_sequence_longer_than_the_positions(bases) -> None:
    config = base(bases["gpt_bigcode"]).config  # 96 positions
    for name, longest in (("lora", 96), ("ptuning", 66), ("prompt", 66)):
        method = METHODS.get(name)
        settings = method.with_defaults({})
        method.check(config, settings, 20, sequence_length=longest)
        with pytest.raises(UsageError, match=f"set data.sequence_length to at most {longest}"):
            method.check(config, settings, 20, sequence_length=longest + 1)


@pytest.mark.parametrize("name", ["fft", "pissa", "boft"])
def test_what_changes_the_base_wants_it_whole(bases, name) -> None:
    config = base(bases["gpt_bigcode"]).config
    method = METHODS.get(name)
    assert method.quantization is None
    with pytest.raises(UsageError, match=r"train\.quantization"):
        method.check(config, method.with_defaults({}), 20, quantization="8bit")


def test_a_directory_without_an_adapter(bases, tmp_path) -> None:
    with pytest.raises(CellError, match=r"adapter_config\.json is missing"):
        METHODS.get("lora").load(base(bases["llama"]), tmp_path)
    with pytest.raises(CellError, match=r"config\.json is missing"):
        METHODS.get("fft").load(base(bases["llama"]), tmp_path)


def test_an_adapter_of_another_base(bases, tmp_path) -> None:
    method, model, _ = attached(bases["llama"], "lora")
    method.save(model, tmp_path)
    with pytest.raises(CellError, match="can't be loaded"):
        method.load(base(bases["gpt_bigcode"]), tmp_path)
