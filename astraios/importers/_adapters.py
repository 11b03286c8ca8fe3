"""Parameters that an adapter of PEFT trained, from the header of its file and its adapter_config.json.

What a file merely carries is not trained: resized embeddings, base layers of tied weights, projections that are drawn
once and stay (VeRA, RandLoRA), indices. What was trained and is not saved counts: the encoder of P-Tuning and the
projection of prefix tuning, the ranks that AdaLoRA gave up, VB-LoRA's logits. Held against what the optimizer held for
every method of PEFT 0.21 in tests/importers/test_adapter_counts.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from astraios.importers._weights import Tensor, header

_FIXED = re.compile(
    r"(^|[._])(vera_[AB]|pvera_[AB]|randlora_[AB]|frod_V|frod_s_size|frod_s_indices|delora_w_norm|tinylora_[ABP]"
    r"|zeros|ranknum)(\.|$)"
)
"""Tensors that a method draws or works out once and never trains."""
_EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|lm_head|wte|wpe|word_embeddings|embed_in|embed_out|shared|tok_embeddings|embeddings"
    r"|encoder_embed_tokens|decoder_embed_tokens)(\.token_adapter)?\.(weight|bias)$"
)
_WHOLE_NUMBERS = ("I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL")
_LAYER = re.compile(r"\.(\d+)\.")
_LARGEST = 1_000_000
_NEED_VALUES = ("FROD", "UNILORA", "SHIRA", "OSF")
"""Methods that look at the weights they are attached to, which a model without storage has not."""


def count_trainable(folder: Path, config: Mapping[str, Any]) -> int | None:
    """Parameters that were trained of the adapter in a folder; None where there is no file with its weights.

    Args:
        folder: with adapter_model.safetensors.
        config: content of adapter_config.json.

    Raises:
        DataError: the file is not whole.
    """
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        return None
    tensors = {name: tensor for name, tensor in header(path).items() if not _is_carried(name, config)}
    kind = str(config.get("peft_type") or "").upper().removeprefix("PEFTTYPE.")
    if "prompt_embeddings" in tensors:
        return _prompt(kind, tensors, config)
    if kind == "ADALORA":
        return sum(_full_rank(name, tensor, config) for name, tensor in tensors.items())
    if kind == "VBLORA":
        return sum(_logits(name, tensor, tensors, config) for name, tensor in tensors.items())
    if kind == "LILY":
        tensors = _shared(tensors, config)
    if kind == "XLORA":
        tensors = {name: tensor for name, tensor in tensors.items() if "xlora" in name or "classifier" in name}
    return sum(
        tensor.numel
        for name, tensor in tensors.items()
        if tensor.dtype not in _WHOLE_NUMBERS and not _FIXED.search(name) and not _again(name, tensors, config)
    )


def _is_carried(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a tensor is the base's: its layer is wrapped, or it is an embedding that was only saved."""
    if ".base_layer." in name:
        return True
    found = _EMBEDDING.search(name)
    if not found or str(config.get("peft_type")).upper().endswith(("LN_TUNING", "SHADOW")):
        return False
    if found[4] == "bias" and config.get("bias") == "all":
        return False
    saved = config.get("modules_to_save") or ()
    module = name.rpartition(".")[0]
    return not any(module == one or module.endswith(f".{one}") for one in saved if isinstance(one, str))


def _prompt(kind: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> int:
    """Prompt tuning and its kin: what is saved is what the encoder made of what it was trained on."""
    saved = tensors["prompt_embeddings"]
    others = sum(tensor.numel for name, tensor in tensors.items() if name != "prompt_embeddings")
    rows, width = (saved.shape[0], prod(saved.shape[1:])) if saved.shape else (0, 0)
    hidden = _whole(config.get("encoder_hidden_size")) or width
    if kind == "P_TUNING":
        return others + saved.numel + _encoder(width, hidden, config)
    if kind == "PREFIX_TUNING" and config.get("prefix_projection"):
        token = _whole(config.get("token_dim")) or 0
        hidden = _whole(config.get("encoder_hidden_size")) or token
        return others + rows * token + token * hidden + hidden + hidden * width + width
    if kind == "CARTRIDGE":
        return others + (rows - (_whole(config.get("num_frozen_tokens", 1)) or 0)) * width
    return others + saved.numel


def _encoder(width: int, hidden: int, config: Mapping[str, Any]) -> int:
    """Parameters of P-Tuning's encoder beside its embedding."""
    if str(config.get("encoder_reparameterization_type", "MLP")).upper().endswith("LSTM"):
        layers = _whole(config.get("encoder_num_layers")) or 2
        inputs = [width, *([2 * hidden] * (layers - 1))]
        recurrent = sum(2 * (4 * hidden * (size + hidden) + 8 * hidden) for size in inputs)
        return recurrent + 2 * hidden * 2 * hidden + 2 * hidden + 2 * hidden * width + width
    return width * hidden + hidden + hidden * hidden + hidden + hidden * width + width


def _full_rank(name: str, tensor: Tensor, config: Mapping[str, Any]) -> int:
    """A tensor of AdaLoRA at the rank with which training began."""
    rank = _whole(config.get("init_r"))
    place = {"lora_A": 0, "lora_B": 1, "lora_E": 0}.get(next((one for one in name.split(".") if "lora_" in one), ""))
    if _FIXED.search(name):
        return 0
    if rank is None or place is None or len(tensor.shape) != 2:
        return tensor.numel
    return rank * tensor.shape[1 - place]


def _logits(name: str, tensor: Tensor, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> int:
    """A tensor of VB-LoRA; where the best of the logits alone are saved, all of them were trained."""
    if name.endswith("_topk_weights"):
        return 0
    if name.endswith("_topk_indices"):
        vectors = _whole(config.get("num_vectors")) or 0
        return prod(tensor.shape[:-1]) * vectors
    return tensor.numel


def _shared(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Lily's tensors once each: B is one for all layers, A for as many as the stride says."""
    stride = _whole(config.get("stride_A")) or 1
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer = _LAYER.search(name)
        every = 1 if "lily_A" not in name else stride
        group = 0 if "lily_B" in name else int(layer[1]) // every if layer else 0
        kept.setdefault(_LAYER.sub(f".{group}.", name, count=1), tensor)
    return kept


def _again(name: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> bool:
    """Whether a tensor is stored a second time for a tied output layer."""
    if name.endswith("lm_head.trainable_tokens_delta"):
        indices, target = config.get("trainable_token_indices"), config.get("target_modules")
        asked = indices if isinstance(indices, Mapping) else target if isinstance(target, list) else ()
        return "lm_head" not in asked and any(
            one != name and one.endswith(".trainable_tokens_delta") for one in tensors
        )
    return (
        bool(config.get("ensure_weight_tying"))
        and name.endswith("lm_head.weight")
        and any(one != name and _EMBEDDING.search(one) and tensors[one].shape == tensors[name].shape for one in tensors)
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else None


def count_described(base: Mapping[str, Any], config: Mapping[str, Any]) -> int | None:
    """Parameters that an adapter of this configuration trains of the base that a config.json describes.

    The adapter is attached by PEFT to a model without storage; None where that can't be done here.
    """
    try:
        plain = {name: value for name, value in base.items() if name != "quantization_config"}
        return _attached(json.dumps(plain, sort_keys=True), json.dumps(_harmless(config), sort_keys=True))
    except (TypeError, ValueError, RecursionError):
        return None


def _harmless(config: Mapping[str, Any]) -> dict[str, Any]:
    """An adapter's settings without those that load files or modules, or that decide on first values alone."""
    dropped = ("auto_mapping", "megatron_core", "init_lora_weights", "init_weights", "loftq_config", "peft_version",
               "base_model_name_or_path", "revision", "inference_mode", "runtime_config")  # fmt: skip
    kept = {
        name: value
        for name, value in config.items()
        if name not in dropped and not name.endswith("_config") and not name.startswith("path_")
    }
    for name, value in kept.items():
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise ValueError(name)
    return {**kept, "inference_mode": False}


@lru_cache(maxsize=256)
def _attached(base: str, config: str) -> int | None:
    from astraios.models.counting import count_attached

    settings = json.loads(config)
    return None if settings.get("peft_type") in _NEED_VALUES else count_attached(json.loads(base), settings)
