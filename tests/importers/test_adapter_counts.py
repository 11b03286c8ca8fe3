"""What an adapter's file says was trained is what an optimizer would hold, for every method that PEFT can save."""

from __future__ import annotations

import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from astraios.importers._adapters import count_described, count_trainable

pytest.importorskip("peft")
MODULES = ["q_proj", "v_proj"]
SPECIAL: dict[str, dict[str, Any] | None] = {
    "PROMPT_TUNING": {"num_virtual_tokens": 5},
    "MULTITASK_PROMPT_TUNING": {"num_virtual_tokens": 5, "num_tasks": 3},
    "P_TUNING": {"num_virtual_tokens": 5, "encoder_hidden_size": 32},
    "PREFIX_TUNING": {"num_virtual_tokens": 5},
    "ADALORA": {"target_modules": MODULES, "init_r": 6, "target_r": 4, "total_step": 100},
    "ADAPTION_PROMPT": {"adapter_len": 4, "adapter_layers": 2},
    "IA3": {"target_modules": ["q_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "LN_TUNING": {"target_modules": ["input_layernorm"]},
    "CPT": {"cpt_token_ids": [1, 2, 3], "cpt_mask": [1, 1, 1], "cpt_tokens_type_mask": [1, 2, 3]},
    "VBLORA": {"target_modules": MODULES, "num_vectors": 16, "vector_length": 16, "topk": 2},
    "TRAINABLE_TOKENS": {"token_indices": [1, 2, 3]},
    "BOFT": {"target_modules": MODULES, "boft_block_size": 4},
    "OFT": {"target_modules": MODULES, "oft_block_size": 4},
    "C3A": {"target_modules": MODULES, "block_size": 16},
    "FOURIERFT": {"target_modules": MODULES, "n_frequency": 10},
    "WAVEFT": {"target_modules": MODULES, "n_frequency": 10},
    "CARTRIDGE": {"num_virtual_tokens": 5},
    # X-LoRA needs adapters that are there already, AdaMSS needs scikit-learn.
    "XLORA": None,
    "ADAMSS": None,
}
SAVES = {"save_embedding_layers": True}
VARIANTS: list[tuple[str, dict[str, Any], bool, dict[str, Any]]] = [
    # PEFT type, settings, whether the output layer is tied, how it is saved
    ("P_TUNING", {"num_virtual_tokens": 5, "encoder_hidden_size": 32, "encoder_reparameterization_type": "LSTM"},
     False, {}),
    ("PREFIX_TUNING", {"num_virtual_tokens": 5, "encoder_hidden_size": 32, "prefix_projection": True}, False, {}),
    ("LORA", {"target_modules": MODULES, "use_dora": True}, False, {}),
    ("LORA", {"target_modules": MODULES, "bias": "all"}, False, {}),
    ("LORA", {"target_modules": MODULES, "modules_to_save": ["lm_head", "embed_tokens"]}, False, {}),
    ("LORA", {"target_modules": MODULES, "modules_to_save": ["lm_head", "embed_tokens"]}, True, {}),
    ("LORA", {"target_modules": MODULES, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}, True, {}),
    ("LORA", {"target_modules": MODULES, "modules_to_save": ["norm"]}, False, {}),
    ("LORA", {"target_modules": [*MODULES, "embed_tokens"]}, False, {}),
    ("LORA", {"target_modules": [*MODULES, "lm_head"]}, True, {}),
    ("LORA", {"target_modules": [*MODULES, "embed_tokens"]}, True, {}),
    ("LORA", {"target_modules": MODULES}, False, SAVES),
    ("LORA", {"target_modules": MODULES}, True, SAVES),
    ("LORA", {"target_modules": MODULES, "trainable_token_indices": [1, 2, 3]}, False, {}),
    ("LORA", {"target_modules": MODULES, "trainable_token_indices": [1, 2, 3]}, True, {}),
    ("LORA", {"target_modules": MODULES, "trainable_token_indices": {"embed_tokens": [1, 2, 3]}}, False, SAVES),
    ("LORA", {"target_modules": MODULES, "target_parameters": ["mlp.up_proj.weight"]}, False, {}),
    ("LORA", {"target_modules": "all-linear"}, False, {}),
    ("LORA", {"target_modules": MODULES, "rank_pattern": {"v_proj": 3}}, False, {}),
    ("LORA", {"target_modules": MODULES, "layer_replication": [[0, 2], [1, 2]]}, False, {}),
    ("VERA", {"target_modules": MODULES, "save_projection": False}, False, {}),
    ("VERA", {"target_modules": MODULES}, False, SAVES),
    ("RANDLORA", {"target_modules": MODULES, "save_projection": False}, False, {}),
    ("VBLORA", {"target_modules": MODULES, "num_vectors": 16, "vector_length": 16, "topk": 2,
                "save_only_topk_weights": True}, False, {}),
    ("IA3", {"target_modules": ["q_proj", "down_proj"], "feedforward_modules": ["down_proj"],
             "modules_to_save": ["lm_head"]}, False, {}),
    ("TRAINABLE_TOKENS", {"token_indices": [1, 2, 3]}, True, {}),
]  # fmt: skip


def cases() -> list[tuple[str, dict[str, Any], bool, dict[str, Any]]]:
    from peft import PeftType

    plain = [(one.value, SPECIAL.get(one.value, {"target_modules": MODULES})) for one in PeftType]
    return [(name, settings, False, {}) for name, settings in plain if settings is not None] + VARIANTS


def base(tied: bool) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=100, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=128, tie_word_embeddings=tied,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.promise("trainable parameters are what the optimizer held")
@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1]))[:40]}-{case[2]}")
def test_the_count_is_what_the_optimizer_holds(case: Any, tmp_path: Path) -> None:
    import torch
    from peft import PeftType, get_peft_model
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind, settings, tied, saved = case
    make = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(kind)]
    task = {"task_type": "CAUSAL_LM"} if "task_type" in inspect.signature(make).parameters else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = base(tied)
        described = model.config.to_dict()
        attached = get_peft_model(model, make(**settings, **task))
        attached.save_pretrained(tmp_path, **saved)
    held = torch.optim.SGD([one for one in attached.parameters() if one.requires_grad], lr=1.0)
    count = sum(one.numel() for group in held.param_groups for one in group["params"])
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert count_trainable(tmp_path, config) == count
    assert count_described(described, config) in (count, None)
