"""A sweep: a TOML file, or the name of a built-in one, that asks for a grid of runs.

name = "mine"
models = "tiny"                  # a ladder, or a list of model ids
methods = ["fft", "lora"]
seeds = [0, 1]
tasks = ["next-token"]
[data]
source = "python-stdlib"
[train]
steps = 200
[method.lora]                    # settings of one method, its learning rate among them
rank = 16
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from astraios.collect.data import DataSpec
from astraios.collect.train import TrainSpec
from astraios.errors import UsageError, did_you_mean

T = TypeVar("T")
RUN_ID_LENGTH = 16


@dataclass(frozen=True)
class ComputeSpec:
    """The sweep's [compute] table: what cells run on. None of it changes a number but `threads`."""

    workers: int = 0
    """Cells at a time; 0 takes one a device, or one a `threads` cores."""
    threads: int = 1
    """CPU threads a cell."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    price_per_device_hour: float | None = None
    """Money, for the cost of each run."""
    retries: int = 0
    """How often a failed cell is tried again in the same call."""
    trust_remote_code: bool = False
    """Whether a base model from the hub may bring code of its own."""


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

    @cached_property
    def run_id(self) -> str:
        """Hash of what decides the trained model: the same request is the same run, whichever sweep asks."""
        content = self.to_dict()
        for name in ("sweep", "tasks"):
            del content[name]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:RUN_ID_LENGTH]

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        # The location of a local file is no part of what was asked: its content is, in data_identity.
        for key in ("path", "test_path"):
            content["data"]["options"].pop(key, None)
        return content

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


@dataclass(frozen=True)
class Sweep:
    """A grid of runs, read from TOML; every field has a default but name, models and methods."""

    name: str
    models: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    tasks: tuple[str, ...] = ()
    description: str = ""
    data: DataSpec = field(default_factory=DataSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    compute: ComputeSpec = field(default_factory=ComputeSpec)
    method: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per method: learning_rate and the method's own settings."""

    @classmethod
    def read(cls, name_or_path: str) -> Sweep:
        """The built-in sweep of that name, or the one in that TOML file.

        Raises:
            UsageError: neither exists, or it is not a sweep; one line that names the file and the field.
        """
        built_in = built_in_sweeps()
        if name_or_path in built_in:
            return cls.from_toml(built_in[name_or_path], name_or_path)
        path = Path(name_or_path)
        if not path.is_file():
            raise UsageError(
                f"no sweep {name_or_path!r}: neither a file nor built in; {did_you_mean(path.stem, built_in)}"
            )
        try:
            return cls.from_toml(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: can't be read ({error})") from None

    @classmethod
    def from_toml(cls, text: str, where: str) -> Sweep:
        """A sweep from TOML text; `where` is how an error calls it."""
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{where}: not valid TOML: {error}") from None
        try:
            return cls._from_table(table)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None

    @classmethod
    def _from_table(cls, table: dict[str, Any]) -> Sweep:
        from astraios.collect.methods import METHODS
        from astraios.collect.tasks import TASKS

        for key in ("name", "models", "methods"):
            if key not in table:
                raise UsageError(f"{key} is missing")
        data = dict(table.pop("data", {}))
        own = {f.name for f in dataclasses.fields(DataSpec)} - {"options"}
        options = {key: data.pop(key) for key in list(data) if key not in own}
        sections = {
            "data": _build(DataSpec, {**data, "options": options}, "data"),
            "train": _build(TrainSpec, table.pop("train", {}), "train"),
            "compute": _build(ComputeSpec, table.pop("compute", {}), "compute"),
        }
        table["models"] = _expand_models(table["models"])
        for key, kind in (("methods", str), ("seeds", int), ("tasks", str)):
            if key in table:
                table[key] = _list_of(kind, table[key], key)
        sweep = _build(cls, {**table, **sections}, "")
        for method_id in (*sweep.methods, *sweep.method):
            overrides = {k: v for k, v in sweep.method.get(method_id, {}).items() if k != "learning_rate"}
            METHODS.get(method_id).with_defaults(overrides)
        for task_id in sweep.tasks:
            TASKS.get(task_id)
        return sweep

    @property
    def sweep_id(self) -> str:
        """Name, @ and the beginning of the hash of the settings."""
        return f"{self.name}@{hashlib.sha256(self.to_json().encode()).hexdigest()[:12]}"

    def to_json(self) -> str:
        """The sweep as it was understood."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def cells(self, only: Iterable[str] = ()) -> list[Cell]:
        """The grid, in the order models x methods x seeds.

        Args:
            only: KEY=VALUE filters on model_id, method_id and seed; values of one key add up, keys narrow down.

        Raises:
            UsageError: an unknown key or a filter that leaves nothing.
            DataError: the data can't be identified.
        """
        from astraios.collect.ladders import resolve
        from astraios.collect.methods import METHODS
        from astraios.collect.sources import SOURCES

        identity = SOURCES.get(self.data.source).identity(self.data.options)
        wanted = _parse_filters(only)
        cells = []
        for model_id, method_id, seed in itertools.product(self.models, self.methods, self.seeds):
            values = {"model_id": model_id, "method_id": method_id, "seed": str(seed)}
            if any(values[key] not in allowed for key, allowed in wanted.items()):
                continue
            method, (_, rung) = METHODS.get(method_id), resolve(model_id)
            own = dict(self.method.get(method_id, {}))
            rate = own.pop("learning_rate", None) or self.train.learning_rate or method.learning_rate
            quantization = self.train.quantization
            if quantization == "auto":
                quantization = method.quantization or "none"
            cells.append(
                Cell(
                    sweep=self.sweep_id,
                    model_id=rung.model_id,
                    revision=rung.revision,
                    method_id=method_id,
                    settings=method.with_defaults(own),
                    seed=seed,
                    data=self.data,
                    data_identity=identity,
                    train=dataclasses.replace(self.train, learning_rate=float(rate), quantization=quantization),
                    threads=self.compute.threads,
                    tasks=self.tasks,
                    trust_remote_code=self.compute.trust_remote_code,
                )
            )
        if not cells:
            raise UsageError(f"--only {' '.join(only)}: no cell of sweep {self.name!r} is left")
        return cells


def built_in_sweeps() -> dict[str, str]:
    """TOML text of the sweeps that come with astraios, by name."""
    folder = resources.files("astraios") / "studies"
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    }


def _build(kind: type[T], table: Any, section: str) -> T:
    if not isinstance(table, Mapping):
        raise UsageError(f"[{section}] must be a table")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    where = f"[{section}] " if section else ""
    for key, value in table.items():
        if key not in fields:
            raise UsageError(f"{where}unknown field {key!r}: {did_you_mean(key, fields)}")
        _check_type(f"{where}{key}", fields[key].type, value)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return kind(**values)


_SCALARS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


def _check_type(where: str, annotation: Any, value: Any) -> None:
    wanted = str(annotation).removesuffix(" | None")
    allowed = _SCALARS.get(wanted)
    if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and wanted != "bool")):
        raise UsageError(f"{where} = {value!r}: must be of type {wanted}")


def _list_of(kind: type, value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value or any(type(v) is not kind for v in value):
        if value == [] and key == "tasks":
            return ()
        raise UsageError(f"{key} must be a list of {'numbers' if kind is int else 'names'}")
    if len(set(value)) < len(value):
        raise UsageError(f"{key} names the same thing twice")
    return tuple(value)


def _expand_models(models: Any) -> tuple[str, ...]:
    from astraios.collect.ladders import LADDERS

    if isinstance(models, str):
        return tuple(rung.model_id for rung in LADDERS.get(models).rungs())
    return _list_of(str, models, "models")


def _parse_filters(only: Iterable[str]) -> dict[str, set[str]]:
    keys = ("model_id", "method_id", "seed")
    wanted: dict[str, set[str]] = {}
    for item in only:
        key, found, value = item.partition("=")
        if not found or key not in keys:
            raise UsageError(f"--only {item!r}: write KEY=VALUE with KEY one of {', '.join(keys)}")
        wanted.setdefault(key, set()).add(value)
    return wanted
