"""What other tools' files tell about a base model and a tuning method: names, sizes, PEFT settings."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers._files import read_object
from astraios.models.counting import count_described
from astraios.records import TABLES, TuningMethodRow

_KINDS = {
    "prompt": ("prefixtuning", "adaptionprompt", "cartridge", "multitaskprompttuning"),
    "low-rank": ("loha", "lokr", "miss", "bone", "vblora", "randlora", "xlora", "delora", "gralora",
                 "corda", "eva", "olora", "loftq", "qalora"),
}  # fmt: skip
"""Kinds of tuning methods of PEFT's that astraios does not have."""
FACTS = tuple(name for name in TABLES["run"].columns if name not in ("run_id", "sweep_id", "origin", "settings"))
"""Columns of the table run that a source can fill."""
WHOLE = tuple(name for name in FACTS if TABLES["run"].columns[name].sql in ("bigint", "integer"))
NUMBERS = tuple(name for name in FACTS if TABLES["run"].columns[name].sql == "double")
UNSPECIFIED = "unspecified"
"""Tuning method of a run whose source does not say."""
UNTUNED = "none"
"""Tuning method of a base model that was evaluated as it is."""


def peft_method(config: Mapping[str, Any]) -> str:
    """Identifier of the tuning method of an adapter_config.json: ours, else PEFT's name of it."""
    from astraios.models.methods import adapter_type, recognise
    from astraios.models.methods.lora import variant

    known = recognise(config)
    if known:
        return known[0]
    kind = adapter_type(config)
    if kind == "LORA" and variant(config):
        return "-".join(sorted(variant(config)))
    return method_name(kind)


_SPELLINGS = {
    "full": "fft",
    "fullfinetuning": "fft",
    "finetuning": "fft",
    "sft": "fft",
    "prompttuning": "prompt",
    "lntuning": "ln",
    "houlsby": "adapterh",
    "pfeiffer": "adapterp",
}
"""Our identifiers by what others call a method, letters and digits only."""


def method_name(text: str) -> str:
    """Our identifier of a tuning method that somebody spelled their way: "LoRA", "(IA)3", "P-Tuning", "full"."""
    plain = "".join(letter for letter in text.lower() if letter.isalnum())
    return _SPELLINGS.get(plain, plain) or UNSPECIFIED


def method_row(method_id: str) -> TuningMethodRow:
    """Row of the table tuning_method."""
    from astraios.models.methods import METHODS

    if method_id in METHODS:
        return METHODS.get(method_id).describe()
    titles = {UNSPECIFIED: "Not said", UNTUNED: "Untuned"}
    kind = next((kind for kind, names in _KINDS.items() if method_id in names), "other")
    return TuningMethodRow(method_id=method_id, title=titles.get(method_id, method_id), kind=kind)


@cache
def known_model(model_id: str) -> dict[str, Any]:
    """Facts about a base model of a named ladder: model_id, ladder, n_params; empty for any other.

    Args:
        model_id: hub id, ladder/name, or a path that ends as a hub id does.
    """
    from astraios.models.ladders import LADDERS

    last = model_id.rstrip("/").rpartition("/")[2].lower()
    for ladder in LADDERS:
        if ladder.name == "hub":
            continue
        rungs = [ladder.find(model_id) if "/" in model_id else None, *ladder.rungs()]
        for rung in rungs:
            if rung is None or not rung.n_params:
                continue
            if rung is rungs[0] or (len(last) > 8 and last == rung.model_id.rpartition("/")[2].lower()):
                return {"model_id": rung.model_id, "ladder": rung.ladder, "n_params": rung.n_params}
    return {}


def completed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about a run with what a named ladder knows of its base model, unless the sizes differ."""
    known = known_model(str(facts["model_id"])) if facts.get("model_id") else {}
    if not known or facts.get("n_params") not in (None, known["n_params"]):
        return dict(facts)
    return {**facts, **known}


def tensor_sizes(path: Path) -> dict[str, int]:
    """Numbers by name of tensor in a safetensors file, from its header.

    Raises:
        DataError: the file is not whole.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if 8 + length > size:
                raise DataError(f"{path}: byte {len(start)}: the file ends within its header")
            header = json.loads(file.read(length))
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError:
        raise DataError(f"{path}: byte 8: the header of a safetensors file was expected") from None
    tensors = {name: about for name, about in header.items() if name != "__metadata__"}
    end = 8 + length + max((about["data_offsets"][1] for about in tensors.values()), default=0)
    if end != size:
        raise DataError(f"{path}: byte {size}: the file should have {end} bytes")
    return {name: prod(about["shape"]) for name, about in tensors.items()}


def folder_model(folder: Path) -> dict[str, Any]:
    """Facts about the model that a folder holds: architecture, and n_params, counted in its weights.

    Where there are only its settings, the model is built without storage and counted, if transformers is installed.

    Raises:
        DataError: a file of it is not whole.
    """
    facts: dict[str, Any] = {}
    config = folder / "config.json"
    if config.is_file():
        content = read_object(config)
        facts = {
            "architecture": next(iter(content.get("architectures") or []), None),
            "base": content.get("_name_or_path"),
            "config": content,
        }
    weights = sorted(folder.glob("model*.safetensors"))
    if weights:
        facts["n_params"] = sum(sum(tensor_sizes(path).values()) for path in weights)
    elif "config" in facts:
        facts["n_params"] = count_described(facts["config"])
    return {name: value for name, value in facts.items() if value}


def base_model(name: str | None, near: Path | None = None) -> dict[str, Any]:
    """Facts about a base model by its name: of a ladder, or a local folder (also beside the folder `near`).

    Raises:
        DataError: its files are not whole.
    """
    if not name:
        return {}
    known = known_model(name)
    if known:
        return known
    for root in (Path(), *((near, *near.resolve().parents[:2]) if near else ())):
        folder = root / name
        if (folder / "config.json").is_file():
            facts = folder_model(folder)
            return {"model_id": name, **{key: facts[key] for key in ("n_params", "architecture") if key in facts}}
    return {"model_id": name}


def from_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about a run in the settings that a tracker has kept of it, under the names that people use."""
    facts: dict[str, Any] = {}
    for column, names in _CONFIG.items():
        for name in names:
            value = config.get(name)
            if value not in (None, "", "None"):
                facts[column] = value
                break
    for column in facts:
        if column in WHOLE:
            facts[column] = _whole(facts[column])
        elif column in NUMBERS:
            facts[column] = _float(facts[column])
    facts = {column: value for column, value in facts.items() if value is not None}
    for column in ("steps", "n_tokens"):
        if facts.get(column, 1) <= 0:
            del facts[column]
    peft = config.get("peft_config")
    if isinstance(peft, Mapping) and "method_id" not in facts:
        nested = peft if "peft_type" in peft else next((one for one in peft.values() if isinstance(one, Mapping)), {})
        if nested.get("peft_type"):
            facts["method_id"] = peft_method(nested)
    if "method_id" in facts:
        facts["method_id"] = method_name(str(facts["method_id"]))
    if "model_id" in facts:
        facts = completed({**base_model(str(facts["model_id"])), **facts})
    return {column: value for column, value in facts.items() if value is not None}


_CONFIG = {name: (name,) for name in (*WHOLE, *NUMBERS)} | {
    "model_id": ("model_id", "base_model_name_or_path", "model_name_or_path", "_name_or_path", "base_model",
                 "model_name", "model"),
    "method_id": ("method_id", "tuning_method", "peft_method", "peft_type", "method"),
    "dataset_id": ("dataset_id", "dataset_name", "dataset"),
    "n_params": ("n_params", "model/num_parameters", "num_parameters", "num_params", "total_params"),
    "n_params_nonembedding": ("n_params_nonembedding", "n_params_non_embedding"),
    "n_trainable": ("n_trainable", "num_trainable_params", "trainable_params", "num_trainable_parameters"),
    "n_tokens": ("n_tokens", "train_tokens", "total_tokens"),
    "steps": ("steps", "max_steps"),
    "tokens_per_step": ("tokens_per_step", "tokens_per_batch"),
    "learning_rate": ("learning_rate", "lr"),
}  # fmt: skip


def _whole(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _float(value)
    return int(number) if number is not None and number == int(number) else None


def _float(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number - number == 0 else None
