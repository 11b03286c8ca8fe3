"""Facts that an output folder of a training run tells: its adapter, its weights, its arguments, its model card."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astraios.importers._adapters import count_described, count_trainable
from astraios.importers._files import bounded, head, plain_file, read_object
from astraios.importers._models import base_folder, base_model, folder_model, method_settings, peft_method

ADAPTER = "adapter_config.json"
ARGUMENTS = "training_args.bin"
_KEPT = (
    "learning_rate", "seed", "data_seed", "per_device_train_batch_size", "gradient_accumulation_steps", "max_steps",
    "num_train_epochs", "weight_decay", "warmup_steps", "warmup_ratio", "lr_scheduler_type", "optim", "adam_beta1",
    "adam_beta2", "max_grad_norm", "bf16", "fp16", "max_length", "max_seq_length", "packing", "label_smoothing_factor",
    "neftune_noise_alpha", "beta", "loss_type",
)  # fmt: skip
"""Arguments of the Trainer and of TRL's trainers that say how a run was trained."""


@dataclass
class FolderFacts:
    """What a folder told."""

    facts: dict[str, Any] = field(default_factory=dict)
    """Columns of the table run, and architecture and revision of the base."""
    settings: dict[str, Any] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    """Where each fact came from."""

    def add(self, source: str, **facts: Any) -> None:
        """Takes facts that are not known yet."""
        for name, value in facts.items():
            if value is not None and name not in self.facts:
                self.facts[name] = value
                self.source[name] = source


def folder_facts(*folders: Path) -> FolderFacts:
    """What the folders of one run tell, those that come first before the others.

    Args:
        folders: the output folder, and the checkpoint in it that counts.

    Raises:
        DataError: a file of it is not whole.
    """
    found = FolderFacts()
    home = next((one for one in folders if plain_file(one / ADAPTER)), None)
    if home is not None:
        _adapter(home, found)
    else:
        _weights(folders, found)
    arguments = next((read for one in folders if (read := training_arguments(one / ARGUMENTS))), {})
    found.add(ARGUMENTS, learning_rate=arguments.get("learning_rate"), seed=arguments.get("seed"))
    if arguments:
        found.settings["arguments"] = {name: arguments[name] for name in _KEPT if arguments.get(name) is not None}
    return found


def _adapter(home: Path, found: FolderFacts) -> None:
    adapter = read_object(home / ADAPTER)
    name = adapter.get("base_model_name_or_path")
    found.settings["adapter"] = {name: value for name, value in adapter.items() if value not in (None, {}, [], "")}
    if settings := method_settings(adapter):
        found.settings["settings"] = settings
    found.add(ADAPTER, method_id=peft_method(adapter), revision=adapter.get("revision"))
    found.add("the base that the adapter names", **base_model(str(name) if name else None, home))
    n_trainable, source = count_trainable(home, adapter), "the adapter's file"
    base = base_folder(str(name), home) if name else None
    if n_trainable is None and base is not None:
        n_trainable, source = count_described(read_object(base / "config.json"), adapter), "the adapter's configuration"
    found.add(source, n_trainable=n_trainable)


def _weights(folders: tuple[Path, ...], found: FolderFacts) -> None:
    """Full fine-tuning, where a folder holds a model."""
    for folder in folders:
        facts = folder_model(folder)
        if not facts.get("n_params"):
            continue
        config = facts.get("config", {})
        named = base_name(config, folder)
        known = base_model(named, folder) if named else {}
        model = known.get("model_id") or f"{config.get('model_type') or 'unnamed'}/{facts['n_params']}"
        found.add("the weights", method_id="fft", n_params=facts["n_params"], n_trainable=facts["n_params"])
        found.add("config.json" if named else "the architecture", model_id=model)
        found.add("config.json", architecture=facts.get("architecture"))
        if config:
            found.settings["model"] = config
        return


def base_name(config: Mapping[str, Any], folder: Path) -> str | None:
    """What a fully tuned model was made of: its configuration's name, else the model card; never the folder's name."""
    name = config.get("_name_or_path")
    if isinstance(name, str) and name and not _is_below(Path(name), folder):
        return name
    card = re.search(rb"^base_model:\s*[\"']?([^\s\"'\[\]]+)", head(folder / "README.md", 4096), re.MULTILINE)
    return card[1].decode("utf-8", "replace") if card else None


def _is_below(name: Path, folder: Path) -> bool:
    """Whether a name is that of a checkpoint of the folder itself, which training went on from."""
    return re.match(r"checkpoint-\d+$", name.name) is not None or (name.name == folder.name and len(name.parts) > 1)


def output_folder(config: Mapping[str, Any], near: Path) -> Path | None:
    """The output folder that a run's settings name, if it is there: by its path, or beside the tracker's files."""
    name = config.get("output_dir")
    if not isinstance(name, str) or not name or name == "None":
        return None
    given = Path(name)
    above = list(near.absolute().parents)[:8]
    around = [one for one in above[:3] if one.name == given.name and plain_file(one / "trainer_state.json")]
    roots = [Path(), *above] if not given.is_absolute() else []
    for folder in (*around, given, *(root / given for root in roots)):
        try:
            if any(plain_file(folder / one) for one in (ADAPTER, "trainer_state.json", "config.json")):
                return folder
        except OSError:
            continue
    return None


class _Inert:
    """Stands for any class in a pickle: it takes what it is given and does nothing."""

    given: tuple[Any, ...] = ()

    def __new__(cls, *given: Any) -> _Inert:
        made = super().__new__(cls)
        made.given = given
        return made

    def __init__(self, *given: Any) -> None: ...

    def __setitem__(self, name: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def add(self, value: Any) -> None: ...


class _Reader(pickle.Unpickler):
    """Reads the plain values of a pickle; no code that it names is imported or run."""

    def find_class(self, module: str, name: str) -> Any:
        return type("Inert", (_Inert,), {})

    def persistent_load(self, pid: Any) -> Any:
        return None


def training_arguments(path: Path) -> dict[str, Any]:
    """The plain values of training_args.bin, which is a pickle, read without running anything; empty where that fails.

    Values of enumerations are their texts.
    """
    if not plain_file(path) or path.stat().st_size > 1 << 20:
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            member = next(info for info in archive.infolist() if info.filename.endswith("data.pkl"))
            with archive.open(member) as stream:
                read = _Reader(io.BytesIO(bounded(stream.read, member.compress_size, str(path)))).load()
    except Exception:  # a pickle that does not load says nothing
        return {}
    values = vars(read) if isinstance(read, _Inert) else {}
    plain = {
        name: value.given[0] if isinstance(value, _Inert) and len(value.given) == 1 else value
        for name, value in values.items()
    }
    return {name: value for name, value in plain.items() if isinstance(value, bool | int | float | str)}
