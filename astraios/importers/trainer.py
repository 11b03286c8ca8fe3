"""Hugging Face's Trainer: a trainer_state.json, or a whole output directory with its checkpoints and adapter.

The file names no run, no base and no size; an output directory does, where it holds weights or an adapter. Losses are
means a token in nats: `eval_loss` is the test split, `loss` that of the training steps since the last logging.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._curves import Series, fill
from astraios.importers._files import number, read_object
from astraios.importers._models import base_model, folder_model, peft_method, tensor_sizes
from astraios.importers._runs import Found, Skipped, imported, step_number
from astraios.records import TaskRow

STATE = "trainer_state.json"
_FINGERPRINT = ("step", "epoch", "loss", "eval_loss", "grad_norm", "learning_rate")
_BESIDE = ("step", "epoch")
_TIMES = re.compile(r"_(runtime|per_second)$|^total_flos$")


@dataclass(frozen=True)
class Trainer(Importer):
    """An output directory, one of its checkpoints, or the file alone."""

    def matches(self, source: str) -> bool:
        return bool(_states(Path(source))) if Path(source).is_dir() else Path(source).name.endswith(STATE)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped()
        folders = _runs(path) if path.is_dir() else {path: [path]}
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for folder, states in folders.items():
            run = _found(folder, states, skipped)
            tasks |= fill(run, _series(run.settings.pop("log")), wanted, skipped)
            found.append(run)
        return imported("trainer", found, wanted, skipped, tasks)


trainer = Trainer(name="trainer", title="Hugging Face Trainer", priority=5, maps=True)


def _states(folder: Path) -> list[Path]:
    """State files of an output directory, or of output directories side by side."""
    patterns = (STATE, f"checkpoint-*/{STATE}", f"*/{STATE}", f"*/checkpoint-*/{STATE}")
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def _runs(folder: Path) -> dict[Path, list[Path]]:
    """State files by the output directory that they belong to."""
    by_run: dict[Path, list[Path]] = {}
    for state in _states(folder):
        home = state.parent
        if home.name.startswith("checkpoint-") and home != folder:
            home = home.parent
        by_run.setdefault(home, []).append(state)
    return by_run


def _found(home: Path, states: list[Path], skipped: Skipped) -> Found:
    read = [(path, *_state(path)) for path in states]
    path, content, log = max(read, key=lambda one: (one[1]["global_step"], one[0] == home / STATE, len(one[2])))
    for other, _, earlier in read:
        if other != path and earlier and not _continues(earlier, log):
            skipped.add(str(other.relative_to(home)), f"its log is not the beginning of that of {path.parent.name}")
    model = _model(home if home.is_dir() else home.parent, path.parent)
    first = next((entry for entry in log if "loss" in entry or "eval_loss" in entry), {})
    trained = content.get("num_input_tokens_seen") or None
    facts = {
        **model["facts"],
        "steps": content["global_step"] or None,
        "n_tokens": trained,
        "train_flops": content.get("total_flos") or None,
    }
    identity = [model["facts"].get("method_id"), model["facts"].get("n_params"),
                [first.get(name) for name in _FINGERPRINT]]  # fmt: skip
    kept = {name: content.get(name) for name in ("epoch", "max_steps", "num_train_epochs", "train_batch_size",
                                                 "best_metric", "best_global_step") if name in content}  # fmt: skip
    seconds = next((entry["train_runtime"] for entry in log if "train_runtime" in entry), None)
    if not _known(log):
        raise DataError(f"{path}: log_history holds no loss")
    return Found(
        label=home.name,
        identity=identity,
        facts=facts,
        settings={"trainer": kept, **model["settings"], "log": log},
        attempt={"wall_seconds": seconds},
    )


def _state(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    content = read_object(path)
    log = content.get("log_history")
    if not isinstance(log, list) or not isinstance(content.get("global_step"), int):
        raise DataError(f"{path}: not a Trainer's state (no log_history, or no global_step)")
    for place, entry in enumerate(log):
        where = f"{path}: log_history[{place}]"
        if not isinstance(entry, Mapping) or "step" not in entry:
            raise DataError(f"{where}: an object with a step was expected")
        step_number(entry["step"], where)
        for name, value in entry.items():
            if name.endswith("loss"):
                number(value, where, name)
    return content, log


def _known(log: list[dict[str, Any]]) -> bool:
    return any(name.endswith("loss") for entry in log for name in entry)


def _continues(earlier: list[dict[str, Any]], log: list[dict[str, Any]]) -> bool:
    """Whether a checkpoint's losses are the first ones of a later one's."""
    losses = [[(e["step"], n, e[n]) for e in entries for n in e if n.endswith("loss")] for entries in (earlier, log)]
    return repr(losses[1][: len(losses[0])]) == repr(losses[0])


def _series(log: list[dict[str, Any]]) -> list[Series]:
    names = dict.fromkeys(name for entry in log for name in entry if name not in _BESIDE and not _TIMES.search(name))
    series = []
    for name in names:
        entries = [entry for entry in log if isinstance(entry.get(name), int | float | str)]
        if not any(isinstance(entry[name], str) and not _is_number(entry[name]) for entry in entries):
            series.append(Series(name, [int(e["step"]) for e in entries], [float(e[name]) for e in entries]))
    return series


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _model(home: Path, checkpoint: Path) -> dict[str, Any]:
    """Method, base and sizes, as far as the directory tells."""
    folder = next((one for one in (home, checkpoint) if (one / "adapter_config.json").is_file()), None)
    if folder is None:
        facts = folder_model(home) or folder_model(checkpoint)
        config, base = facts.pop("config", None), facts.pop("base", None)
        if facts.get("n_params"):
            facts |= {"method_id": "fft", "n_trainable": facts["n_params"], "model_id": base or home.name}
        return {"facts": facts, "settings": {"model": config} if config else {}}
    adapter = read_object(folder / "adapter_config.json")
    facts = {**base_model(adapter.get("base_model_name_or_path"), home), "method_id": peft_method(adapter)}
    if adapter.get("revision"):
        facts["revision"] = adapter["revision"]
    weights = folder / "adapter_model.safetensors"
    if weights.is_file():
        sizes = tensor_sizes(weights)
        # What P-Tuning stores is not what it trained; AdaLoRA stores its rank counters too.
        if facts["method_id"] not in ("ptuning", "adalora"):
            facts["n_trainable"] = sum(sizes.values())
    return {"facts": facts, "settings": {"adapter": adapter}}
