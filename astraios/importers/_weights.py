"""Parameters that a folder of weights stands for, from the headers of its safetensors files.

Packed and quantized weights count as what they stand for (bitsandbytes, GPTQ, AWQ, compressed-tensors, MXFP4, BitNet,
HQQ); scales, zero points, code books and buffers are no parameters; a tied output layer counts once; an index says
which shards belong.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers._files import inside, plain_file, read_object

_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"^model-\d+-of-(\d+)\.safetensors$")
_LONGEST_HEADER = 100 << 20
_BUFFER = re.compile(
    r"(^|\.)(inv_freq|original_inv_freq|position_ids|num_batches_tracked|running_mean|running_var|masked_bias"
    r"|rotary_emb\.(cos|sin)_cached)$"
)
_MASK = re.compile(r"(^|\.)(attn|attention|self_attention|self_attn)\.bias$")
"""The causal mask that older models keep beside the attention; a bias of the same name has one dimension."""
_HELPER = re.compile(
    r"\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.[\w.]+|SCB|weight_format|CB|SCBt"
    r"|qzeros|scales|g_idx|perm|g_scale|weight_scale(_inv|_2|s)?|weight_zero_point|weight_shape|weight_g_idx"
    r"|weight_global_scale|input_scale|input_global_scale|output_scale|activation_scale|k_scale|v_scale|kv_scale"
    r"|weight\._scale|weight\._shift|input_zero_point|[\w]+_scales|nbits|group_size|axis|shape|scale|zero)$"
)
"""What stands beside quantized weights."""
_QUANT_STATE = ".quant_state.bitsandbytes__"
_HEADS = ("lm_head.weight", "embed_out.weight", "output.weight")
_EMBEDDINGS = (
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "embed_in.weight",
    "tok_embeddings.weight",
)


@dataclass(frozen=True)
class Tensor:
    """One entry of a header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """Byte of the file where its data begin."""
    size: int
    """Bytes of its data."""

    @property
    def numel(self) -> int:
        return prod(self.shape)


def header(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a safetensors file; its data are not read.

    Raises:
        DataError: the file is not whole.
    """
    if not plain_file(path):
        raise DataError(f"{path}: not a plain file")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if 8 + length > size:
                raise DataError(f"{path}: byte {len(start)}: the file ends within its header")
            if length > _LONGEST_HEADER:
                raise DataError(f"{path}: byte 0: a header of {length:,} bytes")
            content = json.loads(file.read(length))
        tensors = {name: _tensor(about, 8 + length) for name, about in content.items() if name != "__metadata__"}
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DataError(f"{path}: byte 8: the header of a safetensors file was expected") from None
    end = max((one.start + one.size for one in tensors.values()), default=8 + length)
    if end != size:
        raise DataError(f"{path}: byte {size}: the file should have {end} bytes")
    return tensors


def _tensor(about: Mapping[str, Any], begin: int) -> Tensor:
    first, last = about["data_offsets"]
    return Tensor(str(about["dtype"]), tuple(int(one) for one in about["shape"]), begin + first, last - first)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: the whole one, else the shards of the index, else a complete set.

    Raises:
        DataError: a shard that the index names is not there, or its name leads out of the folder.
    """
    if plain_file(folder / _WHOLE):
        return [folder / _WHOLE]
    if plain_file(folder / _INDEX):
        named = read_object(folder / _INDEX).get("weight_map")
        if not isinstance(named, Mapping):
            raise DataError(f"{folder / _INDEX}: no weight_map")
        files = []
        for name in sorted({str(one) for one in named.values()}):
            path = inside(folder, name)
            if path is None or not plain_file(path):
                raise DataError(f"{folder / _INDEX}: the shard {name!r:.80} that it names is not in the folder")
            files.append(path)
        return files
    sets: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("model-*.safetensors")):
        shard = _SHARD.match(path.name)
        if shard:
            sets.setdefault(shard[1], []).append(path)
    whole = [files for count, files in sets.items() if len(files) == int(count)]
    if sets and len(whole) != 1:
        raise DataError(f"{folder}: {'no' if not whole else 'more than one'} complete set of shards, and no index")
    return whole[0] if whole else []


def count_weights(folder: Path, config: Mapping[str, Any]) -> int | None:
    """Parameters of the model whose weights a folder holds; None without any, or with unknown packing.

    Args:
        folder: of the model.
        config: content of its config.json.

    Raises:
        DataError: a file is not whole.
    """
    tensors: dict[str, tuple[Tensor, Path]] = {}
    for path in weight_files(folder):
        tensors |= {name: (tensor, path) for name, tensor in header(path).items()}
    if not tensors:
        return None
    total = 0
    for name, (tensor, path) in tensors.items():
        size = _stands_for(name, tensor, path, tensors, config)
        if size is None:
            return None
        total += size
    return total - _tied(tensors, config)


def _stands_for(
    name: str, tensor: Tensor, path: Path, all_of_them: Mapping[str, Any], config: Mapping[str, Any]
) -> int | None:
    """Parameters that one tensor stands for; None where that is unknown."""
    if _BUFFER.search(name) or (_MASK.search(name) and len(tensor.shape) > 2) or tensor.dtype == "BOOL":
        return 0
    quantization = config.get("quantization_config")
    quantized = isinstance(quantization, Mapping)
    if _HELPER.search(name) and (quantized or _is_beside(name, all_of_them)):
        return 0
    plain = not quantized or tensor.dtype in ("F32", "F64", "F16", "BF16")
    state = next((one for one in all_of_them if one.startswith(f"{name}{_QUANT_STATE}")), None)
    if state is not None:
        return _of_bitsandbytes(tensor, *all_of_them[state])
    if f"{name}.absmax" in all_of_them:
        return tensor.size * 2
    if name.endswith(("qweight", "weight_packed")) and tensor.dtype in ("I32", "U32", "I64"):
        return tensor.size * 8 // _bits(quantization)
    if name.endswith("_blocks") and tensor.dtype == "U8":
        return tensor.numel * 2
    if tensor.dtype == "U8" and quantized:
        method = str(quantization.get("quant_method")) if isinstance(quantization, Mapping) else ""
        if method == "bitnet":
            return tensor.numel * 4
        return tensor.numel * 8 // _bits(quantization) if method in ("hqq", "modelopt", "fp_quant") else None
    if tensor.dtype.startswith(("I8", "F8")) or plain:
        return tensor.numel if tensor.dtype not in ("I16", "I32", "I64", "U8", "U16", "U32", "U64") else 0
    return None


def _is_beside(name: str, all_of_them: Mapping[str, Any]) -> bool:
    """Whether a quantized weight stands beside what may be its scale."""
    stem = name.rpartition(".")[0].partition(".quant_state")[0]
    return any(f"{stem}.{one}" in all_of_them for one in ("qweight", "weight_packed", "W_q")) or (
        stem in all_of_them or f"{name.rpartition('_')[0]}_blocks" in all_of_them or name.endswith(".SCB")
    )


def _of_bitsandbytes(tensor: Tensor, state: Tensor, path: Path) -> int:
    """Parameters of a 4-bit weight: the state beside it knows its shape."""
    try:
        with path.open("rb") as file:
            file.seek(state.start)
            shape = json.loads(file.read(min(state.size, 1 << 16)))["shape"]
            size = prod(int(one) for one in shape)
    except (OSError, ValueError, KeyError, TypeError):
        return tensor.size * 2
    return size if abs(size - tensor.size * 2) <= 1 else tensor.size * 2


def _bits(quantization: Any) -> int:
    """Bits of a weight as the configuration has them; 4 where it does not say."""
    if not isinstance(quantization, Mapping):
        return 4
    groups = quantization.get("config_groups")
    inner: Any = next(iter(groups.values()), {}) if isinstance(groups, Mapping) else {}
    weights = inner.get("weights") if isinstance(inner, Mapping) else None
    for place, names in ((quantization, ("bits", "w_bit", "nbits")), (weights, ("num_bits",))):
        for name in names:
            bits = place.get(name) if isinstance(place, Mapping) else None
            if isinstance(bits, int) and bits in (1, 2, 3, 4, 8):
                return bits
    return 4


def _tied(tensors: Mapping[str, tuple[Tensor, Path]], config: Mapping[str, Any]) -> int:
    """Parameters of an output layer that is the token embedding and was stored beside it."""
    text = config.get("text_config")
    if not (config.get("tie_word_embeddings") or (isinstance(text, Mapping) and text.get("tie_word_embeddings"))):
        return 0
    heads = [tensor for name, (tensor, _) in tensors.items() if name.endswith(_HEADS)]
    embeddings = [tensor for name, (tensor, _) in tensors.items() if name.endswith(_EMBEDDINGS)]
    return heads[0].numel if heads and embeddings and heads[0].shape == embeddings[0].shape else 0
