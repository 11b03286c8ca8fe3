"""What other tools' files tell about a base model and a tuning method: names, sizes, PEFT settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from astraios.importers._files import plain_file, read_object
from astraios.importers._weights import count_weights
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


def method_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the tuning method in an adapter_config.json, under our names where the method is ours."""
    from astraios.models.methods import recognise

    known = recognise(config)
    return dict(known[1]) if known else {"rank": config["r"]} if isinstance(config.get("r"), int) else {}


_OTHERS = tuple(name.replace("_", "") for names in _KINDS.values() for name in names)
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
    """Our identifier of a tuning method that somebody spelled their way: "LoRA", "(IA)3", "P-Tuning", "full".

    A name that nobody knows is kept, in small letters: "LoRA+" is not "LoRA", nor "alpha=1.6" "alpha=16".
    """
    from astraios.models.methods import METHODS

    name = " ".join(text.lower().split())
    plain = re.sub(r"[ _()-]", "", name)
    known = _SPELLINGS.get(plain, plain)
    return known if known in METHODS or known in _SPELLINGS.values() or known in _OTHERS else name or UNSPECIFIED


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
    if "/" not in model_id and len(last) <= 8:
        return {}
    for ladder in LADDERS:
        if ladder.name == "hub" or (ladder.name == "tiny" and "tiny/" not in model_id):
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


def folder_model(folder: Path) -> dict[str, Any]:
    """Facts about the model that a folder holds: architecture, config, and n_params, counted in its weights.

    Where there are only its settings, or the weights are packed in a way that nobody knows, the model is built without
    storage and counted, if transformers is installed.

    Raises:
        DataError: a file of it is not whole.
    """
    facts: dict[str, Any] = {}
    if plain_file(folder / "config.json"):
        content = read_object(folder / "config.json")
        architectures = content.get("architectures")
        facts = {
            "architecture": architectures[0] if isinstance(architectures, list) and architectures else None,
            "config": content,
        }
    facts["n_params"] = count_weights(folder, facts.get("config", {}))
    if facts["n_params"] is None and "config" in facts:
        facts["n_params"] = count_described(facts["config"])
    return {name: value for name, value in facts.items() if value}


def base_folder(name: str, near: Path | None = None) -> Path | None:
    """The local folder of a base model: by its path, or by its name beside the folder `near` and those above it."""
    for root in (Path(), *((near, *near.absolute().parents[:5]) if near else ())):
        try:
            if plain_file(root / name / "config.json"):
                return root / name
        except (OSError, ValueError):
            return None
    return None


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
    folder = base_folder(name, near)
    if folder is None:
        return {"model_id": name}
    facts = _counted(str(folder.absolute()), (folder / "config.json").stat().st_mtime_ns)
    return {"model_id": name, **{key: facts[key] for key in ("n_params", "architecture") if key in facts}}


@lru_cache(maxsize=64)
def _counted(folder: str, changed: int) -> dict[str, Any]:
    return folder_model(Path(folder))
