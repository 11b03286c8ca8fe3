"""Facts about a run in the settings that a tracker has kept of it, and in the output folder that they name."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers._adapters import count_described
from astraios.importers._files import read_object
from astraios.importers._folders import FolderFacts, folder_facts, output_folder
from astraios.importers._models import base_folder, base_model, completed, method_name, method_settings, peft_method
from astraios.models.counting import count_described as count_base

_NAMES = {
    "model_id": ("model_id", "base_model_name_or_path", "model_name_or_path", "_name_or_path", "base_model",
                 "model_name", "model"),
    "method_id": ("method_id", "tuning_method", "peft_method", "peft_type", "finetuning_type", "method"),
    "dataset_id": ("dataset_id", "dataset_name", "dataset"),
    "seed": ("seed", "random_seed"),
    "n_params": ("n_params",),
    "n_params_nonembedding": ("n_params_nonembedding", "n_params_non_embedding"),
    "n_trainable": ("n_trainable", "num_trainable_params", "trainable_params", "num_trainable_parameters"),
    "n_tokens": ("n_tokens", "train_tokens", "total_tokens"),
    "steps": ("steps", "max_steps"),
    "tokens_per_step": ("tokens_per_step", "tokens_per_batch"),
    "learning_rate": ("learning_rate", "lr"),
    "train_flops": ("train_flops",),
    "bytes_per_token": ("bytes_per_token",),
}  # fmt: skip
_TOTALS = ("model/num_parameters", "model_num_parameters", "num_parameters", "num_params", "total_params")
"""Counts that include an adapter where one is attached."""
_WHOLE = ("n_params", "n_params_nonembedding", "n_trainable", "seed", "n_tokens", "steps", "tokens_per_step")
_NUMBERS = ("learning_rate", "train_flops", "bytes_per_token")
_POSITIVE = ("steps", "n_tokens", "n_params", "n_trainable", "tokens_per_step")


def plain_values(texts: Mapping[str, str]) -> dict[str, Any]:
    """Settings that a tracker keeps as texts, as what Python wrote them from where they are that."""
    return {name: _value(text) for name, text in texts.items()}


def _value(text: str) -> Any:
    if not isinstance(text, str) or len(text) > 10_000 or not text:
        return text
    if text in ("None", "null"):
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return {"true": True, "false": False}.get(text, text)


def from_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about a run under the names that people use for them."""
    facts: dict[str, Any] = {}
    for column, names in _NAMES.items():
        for name in names:
            value = config.get(name)
            if isinstance(value, bool | int | float | str) and value not in ("", "None"):
                facts[column] = value
                break
    for column in _WHOLE:
        if column in facts:
            facts[column] = _whole(facts[column])
    for column in _NUMBERS:
        if column in facts:
            facts[column] = _float(facts[column])
    for column in _POSITIVE:
        if (facts.get(column) or 1) <= 0:
            del facts[column]
    if "method_id" in facts:
        facts["method_id"] = method_name(str(facts["method_id"]))
    return {column: value for column, value in facts.items() if value is not None}


def config_facts(config: Mapping[str, Any], near: Path | None = None) -> FolderFacts:
    """Facts about a run from a tracker's settings, the adapter's among them, and the output folder that they name.

    Args:
        config: settings by name.
        near: the tracker's own file or folder; an output folder and a base are looked for beside it.

    Raises:
        DataError: a file of the output folder or the base is not whole.
    """
    named, adapter = from_config(config), _adapter(config)
    found = FolderFacts()
    if adapter is not None:
        named.pop("method_id", None)
        found.add("the adapter's settings", method_id=peft_method(adapter), revision=adapter.get("revision"))
        if settings := method_settings(adapter):
            found.settings["settings"] = settings
        found.settings["adapter"] = {name: value for name, value in adapter.items() if value not in (None, {}, [], "")}
    model = named.get("model_id") or (adapter or {}).get("base_model_name_or_path")
    found.add("the settings", **{name: value for name, value in named.items() if name != "model_id"})
    if model:
        told = completed({**base_model(str(model), near), **({"n_params": n} if (n := named.get("n_params")) else {})})
        found.add("the base that the settings name", **told)
    _beside(config, near, found)
    described = _described(config)
    found.add("the model's configuration", n_params=described, architecture=_first(config.get("architectures")))
    _counted(config, adapter, model, near, found)
    return found


def _beside(config: Mapping[str, Any], near: Path | None, found: FolderFacts) -> None:
    """Takes what the output folder tells that the settings do not."""
    folder = output_folder(config, near) if near is not None else None
    if folder is None:
        return
    try:
        told = folder_facts(folder)
    except DataError:
        return
    for name, value in told.facts.items():
        found.add(f"the output folder ({told.source[name]})", **{name: value})
    found.settings = {**told.settings, **found.settings}


def _counted(
    config: Mapping[str, Any], adapter: Mapping[str, Any] | None, model: Any, near: Path | None, found: FolderFacts
) -> None:
    """What is trained, and the base's parameters where only the tracker's count of all of them is there."""
    total = next((n for name in _TOTALS if (n := _whole(config.get(name))) and n > 0), None)
    base, method = found.facts.get("n_params"), found.facts.get("method_id")
    if adapter is not None and "n_trainable" not in found.facts:
        folder = base_folder(str(model), near) if model else None
        described = read_object(folder / "config.json") if folder else config
        found.add("the adapter's settings", n_trainable=count_described(described, adapter))
        if "n_trainable" not in found.facts and total and base and total > base:
            found.add("the tracker's count without the base", n_trainable=total - base)
    if method is None and total and base and total == base and "per_device_train_batch_size" in config:
        found.add("the tracker counts no parameter beside the base's", method_id="fft")
    trained = found.facts.get("n_trainable")
    if base is None and total:
        inside = adapter is not None and trained is not None and trained < total
        found.add(
            "the tracker's count" + (" without the adapter" if inside else ", which may include an adapter's"),
            n_params=total - trained if inside and trained else total,
        )
    if found.facts.get("method_id") == "fft":
        found.add("full fine-tuning", n_trainable=found.facts.get("n_params"))


def _adapter(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The adapter's settings among a run's, as the Trainer's callbacks write them: by the adapter's name."""
    peft = config.get("peft_config")
    if not isinstance(peft, Mapping):
        return None
    inner = peft if "peft_type" in peft else next((one for one in peft.values() if isinstance(one, Mapping)), {})
    return dict(inner) if inner.get("peft_type") else None


def _described(config: Mapping[str, Any]) -> int | None:
    """Parameters of the model whose configuration stands among the settings."""
    if not isinstance(config.get("model_type"), str) or not isinstance(config.get("vocab_size"), int):
        return None
    return count_base(config)


def _first(value: Any) -> str | None:
    return str(value[0]) if isinstance(value, list) and value else None


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
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number - number == 0 else None
