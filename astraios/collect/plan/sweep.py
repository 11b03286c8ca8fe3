"""A sweep: a TOML file, or the name of a built-in one, that asks for a grid of runs.

`extends = "tiny"` takes a built-in sweep and changes what the file says. Without it:

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
learning_rate = [1e-4, 1e-3]     # a list makes a cell of each
[launch.slurm]                   # what a launcher asks its cluster for; [launch.slurm.evaluate] for one stage alone
partition = "gpu"
[task.devign]                    # how a task is evaluated: data_dir, n_samples, language_level, limit, ...
data_dir = "gold"
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from astraios.collect.plan.compute import ComputeSpec, KeepSpec
from astraios.data.packing import DataSpec
from astraios.errors import UsageError, did_you_mean
from astraios.settings import build, check, require_table, rule_of_type
from astraios.train.loop import TrainSpec

RUN_ID_LENGTH = 16
_NOT_ASKED = ("sweep", "tasks", "task_options")
"""Fields of a cell on which its trained model does not depend."""


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

    @cached_property
    def run_id(self) -> str:
        """Hash of what decides the trained model: the same request is the same run, whichever sweep asks."""
        content = {name: value for name, value in self.to_dict().items() if name not in _NOT_ASKED}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:RUN_ID_LENGTH]

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**content, "tasks": list(self.tasks), "data": self.data.asked, "train": self.train.asked}

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
    keep: KeepSpec = field(default_factory=KeepSpec)
    launch: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per launcher: what it asks its cluster for; none of it changes a number."""
    task: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per task: how it is evaluated; none of it changes what is trained."""
    method: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per method: learning_rate (a list makes a cell of each) and the method's own settings."""

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
            return cls._from_table(_extended(table))
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None

    @classmethod
    def _from_table(cls, table: dict[str, Any]) -> Sweep:
        from astraios.evaluate.options import EvaluateOptions
        from astraios.evaluate.tasks import TASKS
        from astraios.models.methods import METHODS

        for key in ("name", "models", "methods"):
            if key not in table:
                raise UsageError(f"{key} is missing")
        sections = {
            "data": _data(table.pop("data", {})),
            "train": build(TrainSpec, table.pop("train", {}), "[train] "),
            "compute": build(ComputeSpec, table.pop("compute", {}), "[compute] "),
            "keep": build(KeepSpec, table.pop("keep", {}), "[keep] "),
        }
        table["models"] = _expand_models(table["models"])
        for key, kind in (("methods", str), ("seeds", int), ("tasks", str)):
            if key in table:
                table[key] = _list_of(kind, table[key], key)
        sweep = build(cls, {**table, **sections}, "")
        for method_id in (*sweep.methods, *sweep.method):
            require_table(sweep.method.get(method_id, {}), f"[method.{method_id}] ")
            overrides = dict(sweep.method.get(method_id, {}))
            _check_rates(method_id, overrides.pop("learning_rate", None))
            METHODS.get(method_id).with_defaults(overrides)
        for task_id in (*sweep.tasks, *sweep.task):
            TASKS.get(task_id).read_options(EvaluateOptions, sweep.task.get(task_id, {}), f"[task.{task_id}] ")
        return sweep

    @cached_property
    def sweep_id(self) -> str:
        """Name, @ and the beginning of the hash of the settings."""
        return f"{self.name}@{hashlib.sha256(self.to_json().encode()).hexdigest()[:12]}"

    def to_json(self) -> str:
        """The sweep as it was understood."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def cells(self, only: Iterable[str] = ()) -> list[Cell]:
        """The grid, in the order models x methods x learning rates x seeds.

        Args:
            only: KEY=VALUE filters on model_id, method_id, seed and learning_rate; values of one key add up, keys
                narrow down.

        Raises:
            UsageError: an unknown key or a filter that leaves nothing.
            DataError: the data can't be identified.
        """
        from astraios.data.sources import SOURCES

        identity = SOURCES.get(self.data.source).identity(self.data.options)
        wanted = _parse_filters(only)
        cells = []
        for model_id, method_id in itertools.product(self.models, self.methods):
            for rate in self._rates(method_id):
                values = {"model_id": model_id, "method_id": method_id, "learning_rate": rate}
                if not all(values[key] in allowed for key, allowed in wanted.items() if key != "seed"):
                    continue
                cell = self._cell(model_id, method_id, rate, identity)
                seeds = (seed for seed in self.seeds if seed in wanted.get("seed", {seed}))
                cells += [dataclasses.replace(cell, seed=seed) for seed in seeds]
        if not cells:
            raise UsageError(f"--only {' '.join(only)}: no cell of sweep {self.name!r} is left")
        return cells

    def _rates(self, method_id: str) -> tuple[float, ...]:
        from astraios.models.methods import METHODS

        rate = self.method.get(method_id, {}).get("learning_rate")
        rate = rate or self.train.learning_rate or METHODS.get(method_id).learning_rate
        return tuple(map(float, rate)) if isinstance(rate, (list, tuple)) else (float(rate),)

    def _cell(self, model_id: str, method_id: str, rate: float, identity: str) -> Cell:
        """The cell of the first seed."""
        from astraios.models.ladders import resolve
        from astraios.models.methods import METHODS

        method, (_, rung) = METHODS.get(method_id), resolve(model_id)
        quantization = self.train.quantization
        if quantization == "auto":
            quantization = method.quantization or "none"
        own = {key: value for key, value in self.method.get(method_id, {}).items() if key != "learning_rate"}
        return Cell(
            sweep=self.sweep_id,
            model_id=rung.model_id,
            revision=rung.revision,
            method_id=method_id,
            settings=method.with_defaults(own),
            seed=self.seeds[0],
            data=self.data,
            data_identity=identity,
            train=dataclasses.replace(self.train, learning_rate=rate, quantization=quantization),
            threads=self.compute.threads,
            tasks=self.tasks,
            trust_remote_code=self.compute.trust_remote_code,
            task_options={name: self.task[name] for name in self.tasks if name in self.task},
        )


def built_in_sweeps() -> dict[str, str]:
    """TOML text of the sweeps that come with astraios, by name."""
    folder = resources.files("astraios") / "sweeps"
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    }


def _extended(table: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """A table laid over the built-in sweep that it `extends`: only what differs need be said."""
    if "extends" not in table:
        return table
    built_in, name = built_in_sweeps(), table["extends"]
    if name not in built_in or depth > 8:
        raise UsageError(f"extends = {name!r}: no built-in sweep; {did_you_mean(str(name), built_in)}")
    under = _extended(tomllib.loads(built_in[name]), depth + 1)
    return _laid_over(under, {key: value for key, value in table.items() if key != "extends"})


def _laid_over(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {key: value for key, value in under.items() if isinstance(value, dict) and isinstance(over.get(key), dict)}
    return {**under, **over, **{key: _laid_over(value, over[key]) for key, value in both.items()}}


def _data(table: Any) -> DataSpec:
    """The [data] table: fields of DataSpec, and what its source takes."""
    from astraios.data.sources import SOURCES

    require_table(table, "[data] ")
    own = {f.name for f in dataclasses.fields(DataSpec)} - {"options"}
    spec = build(DataSpec, {key: value for key, value in table.items() if key in own}, "[data] ")
    options = {key: value for key, value in table.items() if key not in own}
    rules = {name: rule_of_type(kind) for name, kind in SOURCES.get(spec.source).options.items()}
    check(rules, options, "[data] ", besides=own)
    return dataclasses.replace(spec, options=options)


def _list_of(kind: type, value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value or any(type(v) is not kind for v in value):
        if value == [] and key == "tasks":
            return ()
        raise UsageError(f"{key} must be a list of {'numbers' if kind is int else 'names'}")
    if len(set(value)) < len(value):
        raise UsageError(f"{key} names the same thing twice")
    return tuple(value)


def _expand_models(models: Any) -> tuple[str, ...]:
    from astraios.models.ladders import LADDERS

    if isinstance(models, str):
        return tuple(rung.model_id for rung in LADDERS.get(models).rungs())
    return _list_of(str, models, "models")


def _parse_filters(only: Iterable[str]) -> dict[str, set[Any]]:
    kinds: dict[str, Callable[[str], Any]] = {"model_id": str, "method_id": str, "seed": int, "learning_rate": float}
    wanted: dict[str, set[Any]] = {}
    for item in only:
        key, found, value = item.partition("=")
        if not found or key not in kinds:
            raise UsageError(f"--only {item!r}: write KEY=VALUE with KEY one of {', '.join(kinds)}")
        try:
            wanted.setdefault(key, set()).add(kinds[key](value))
        except ValueError:
            raise UsageError(f"--only {item!r}: {value!r} is no number") from None
    return wanted


def _check_rates(method_id: str, rate: Any) -> None:
    rates = rate if isinstance(rate, (list, tuple)) else [1.0 if rate is None else rate]
    if not rates or any(isinstance(r, bool) or not isinstance(r, (int, float)) or r <= 0 for r in rates):
        raise UsageError(f"[method.{method_id}] learning_rate = {rate!r}: a positive number, or a list of them")
    if len(set(rates)) < len(rates):
        raise UsageError(f"[method.{method_id}] learning_rate names a rate twice")
