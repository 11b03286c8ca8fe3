"""A cell: one training run that a sweep asks for, and what decides its numbers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from astraios.data.packing import NAMES, DataSpec
from astraios.models.ladders import resolve
from astraios.runs.identity import decisive
from astraios.settings import Rule, as_setting
from astraios.train.loop import TrainSpec

RUN_ID_LENGTH = 16


@dataclass(frozen=True)
class Cell:
    """One run that is asked for: all that decides its numbers, defaults filled in."""

    sweep: str
    model_id: str
    revision: str | None
    method_id: str
    settings: Mapping[str, Any]
    seed: int
    data: DataSpec
    data_identity: str
    train: TrainSpec
    threads: int
    tasks: tuple[str, ...]
    trust_remote_code: bool = False
    task_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per task: how it is evaluated (data_dir, n_samples, language_level, ...)."""
    weights: str | None = None
    """Hash of a local base's files; None where id and revision say which base it is."""
    named: Mapping[str, Any] = field(default_factory=dict)
    """What `revision` and `data_identity` were before the hub told which commits they mean."""
    stored_as: str | None = None
    """Its run_id where a run directory of before, under an earlier form of the hash, holds it already."""

    @cached_property
    def run_id(self) -> str:
        """Hash of what decides the trained model: the same request is the same run, whichever sweep asks."""
        return self.stored_as or run_id_of(self.decisive)

    @property
    def named_id(self) -> str:
        """The id under which a run was made before commits counted, when a name on the hub was all that is known."""
        return run_id_of({**self.decisive, **self.named})

    @property
    def base(self) -> str:
        """The name under which a ladder gives this revision of the base model."""
        pinned = self.revision and resolve(self.model_id)[0].has_revisions(self.model_id)
        return f"{self.model_id}@{self.revision}" if pinned else self.model_id

    @cached_property
    def decisive(self) -> dict[str, Any]:
        """What decides the trained model, as JSON types."""
        return decisive_of({**_values(self), "data": _values(self.data), "train": _values(self.train)})

    def to_dict(self) -> dict[str, Any]:
        """What was asked, for the record; JSON types only."""
        content = {name: value for name, value in _values(self).items() if name not in ("weights", "stored_as")}
        known = {} if self.weights is None else {"weights": self.weights}
        if not self.named:
            del content["named"]
        return {**content, "tasks": list(self.tasks), "data": self.data.asked, "train": self.train.asked, **known}

    def to_json(self) -> str:
        """The whole cell, for another process."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Cell:
        """What `to_json` gave."""
        content = json.loads(text)
        content["data"] = DataSpec(**content["data"])
        content["train"] = TrainSpec(**{**content["train"], "betas": tuple(content["train"]["betas"])})
        content["tasks"] = tuple(content["tasks"])
        return cls(**content)


def _values(settings: Any) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}


def decisive_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """What of a cell decides its trained model: two cells that give the same are one run.

    Left out are who asks, how it is scored, where a local file or base lies (their content counts), and what
    `runs.identity.decisive` leaves out.

    Args:
        content: a cell as JSON types, as this or an earlier astraios wrote it.

    Raises:
        ValueError, KeyError, TypeError: it is none that this astraios knows.
    """
    data = decisive(DataSpec, content["data"])
    data["options"] = {name: value for name, value in data["options"].items() if name not in NAMES}
    rules = _rules_of(content["method_id"])
    settings = {
        name: as_setting(rules[name], value) if name in rules else value for name, value in content["settings"].items()
    }
    same = ("revision", "method_id", "seed", "data_identity", "threads")
    weights = content.get("weights")
    return {
        **{name: content[name] for name in same},
        **({"model_id": content["model_id"]} if weights is None else {"weights": weights}),
        "settings": settings,
        "data": data,
        "train": decisive(TrainSpec, content["train"]),
        "trust_remote_code": content.get("trust_remote_code", False),
    }


def run_id_of(content: Mapping[str, Any]) -> str:
    """The id of what `decisive_of` gave."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:RUN_ID_LENGTH]


@functools.cache
def _rules_of(method_id: str) -> dict[str, Rule]:
    from astraios.models.methods import METHODS

    return METHODS.get(method_id).rules if method_id in METHODS else {}
