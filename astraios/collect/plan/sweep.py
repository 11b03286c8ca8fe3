"""A sweep: a TOML file, or the name of a built-in one, that asks for a grid of runs.

`extends = "tiny"` takes a built-in sweep and changes what the file says; of another data source, or of base models that
`models` leaves out, nothing is taken over. Without it:

name = "mine"
models = "tiny"                  # a ladder, or a list of model ids
methods = ["fft", "lora"]
seeds = [0, 1]
tasks = ["next-token"]           # "devign@1" asks with one demonstration
[data]
source = "python-stdlib"
n_train_tokens = [1e6, 4e6]      # a list in [data], [train] and [method.NAME] makes cells of each value
[train]
steps = 200
[method.lora]                    # settings of one method, and fields of [train] for its cells alone
rank = [4, 16]
learning_rate = [1e-4, 1e-3]
target_modules = [["c_attn"], ["c_attn", "c_proj"]]     # what is a list itself: a list of lists
[method.fft."7B"]                # the same for the cells of one base model
processes = 4
fsdp = true
[model."7B"]                     # which branch, tag or commit of a base from the hub; or models = ["org/name@v1.0"]
revision = "v1.0"
[launch.slurm]                   # what a launcher asks its cluster for; [launch.slurm.evaluate] for one stage alone
partition = "gpu"
[task]                           # how tasks are evaluated, each that takes the option: data_dir, n_samples, limit, ...
data_dir = "gold"
[task.humanevalfix-java]         # the same for one task, over what is said for all
language_level = 8
[composite.mine]                 # a mean score of one's own: TASK[:METRIC][=WEIGHT]
tasks = ["next-token", "devign:accuracy=2"]

Paths are relative to the file that says them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.collect.plan.axes import combinations, only_cells
from astraios.collect.plan.bases import Base, expand_models, list_of, names_of, pinned
from astraios.collect.plan.cell import Cell
from astraios.collect.plan.compute import ComputeSpec, KeepSpec
from astraios.collect.plan.extends import built_in_sweeps, extended
from astraios.data.packing import DataSpec
from astraios.errors import UsageError, did_you_mean
from astraios.evaluate.composite import composite_rows
from astraios.records import CompositeRow
from astraios.runs.identity import decides
from astraios.settings import as_setting, build, check, require_table, rule_of_type, rules_of, split_axes
from astraios.train.loop import TrainSpec

if TYPE_CHECKING:
    from astraios.models.methods import TuningMethod

NO_AXES = tuple(f.name for f in dataclasses.fields(TrainSpec) if not decides(f))
"""Fields of [train] on which no number depends."""


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
    task: Mapping[str, Any] = field(default_factory=dict)
    """How tasks are evaluated: plain keys for all that take the option, tables for one. Nothing that is trained depends
    on it."""
    method: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per method: its own settings, and fields of [train] for its cells alone; a list makes cells of each value. A
    table named like a base model holds the same for the cells of that model."""
    axes: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    """Of [data] and [train]: the values of each field that was given several; `data` and `train` hold the first."""
    composite: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Mean scores of one's own: the tasks of each, as TASK[:METRIC][=WEIGHT]."""

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
            return cls.from_toml(path.read_text(encoding="utf-8"), str(path), path.parent)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: can't be read ({error})") from None

    @classmethod
    def from_toml(cls, text: str, where: str, folder: Path = Path()) -> Sweep:
        """A sweep from TOML text.

        Args:
            text: the content of a file.
            where: how an error calls it.
            folder: what its paths are relative to.

        Raises:
            UsageError: it is no sweep; one line.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{where}: not valid TOML: {error}") from None
        try:
            return cls._from_table(extended(table, folder))
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None

    @classmethod
    def _from_table(cls, table: dict[str, Any]) -> Sweep:
        from astraios.evaluate.tasks import TASKS

        for key in ("name", "models", "methods"):
            if key not in table:
                raise UsageError(f"{key} is missing")
        if "axes" in table:
            raise UsageError("unknown field 'axes': give a list in place of a value, in [train] for instance")
        data, data_axes = _data(table.pop("data", {}))
        train_table = require_table(table.pop("train", {}), "[train] ")
        train, train_axes = split_axes(rules_of(TrainSpec), train_table, "[train] ", NO_AXES)
        sections = {
            "data": data,
            "train": build(TrainSpec, train, "[train] "),
            "compute": build(ComputeSpec, table.pop("compute", {}), "[compute] "),
            "keep": build(KeepSpec, table.pop("keep", {}), "[keep] "),
            "axes": {name: axes for name, axes in (("data", data_axes), ("train", train_axes)) if axes},
        }
        table["models"] = pinned(expand_models(table["models"]), table.pop("model", {}))
        for key, kind in (("methods", str), ("seeds", int), ("tasks", str)):
            if key in table:
                table[key] = list_of(kind, table[key], key)
        sweep = build(cls, {**table, **sections}, "")
        if sweep.train.score_every and not sweep.tasks:
            raise UsageError("[train] score_every: the sweep has no tasks to score; name some in tasks = [...]")
        sweep._data_specs()
        for method_id in (*sweep.methods, *sweep.method):
            sweep._check_method(method_id)
        sweep._check_tasks()
        for row in sweep.composite_rows():
            TASKS.get(row.task_id)
        return sweep

    @cached_property
    def sweep_id(self) -> str:
        """Name, @ and the beginning of the hash of the settings."""
        return f"{self.name}@{hashlib.sha256(self.to_json().encode()).hexdigest()[:12]}"

    def to_json(self) -> str:
        """The sweep as it was understood."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def composite_rows(self) -> list[CompositeRow]:
        """The mean scores that the sweep defines, for each ladder of its models.

        Raises:
            UsageError: a [composite.NAME] table makes no sense.
        """
        from astraios.models.ladders import resolve

        rows = []
        ladders = sorted({resolve(model_id)[0].name for model_id in self.models}) if self.composite else []
        for name, table in self.composite.items():
            check(_COMPOSITE, require_table(table, f"[composite.{name}] "), f"[composite.{name}] ")
            terms = table.get("tasks", ())
            if not isinstance(terms, list | tuple) or not all(isinstance(term, str) for term in terms):
                raise UsageError(f'[composite.{name}] tasks = {terms!r}: must be a list of "TASK[:METRIC][=WEIGHT]"')
            rows += [row for ladder in ladders for row in composite_rows(name, terms, ladder)]
        return rows

    def cells(self, only: Iterable[str] = ()) -> list[Cell]:
        """The grid: models x methods x values of [train] x values of [method.NAME] x data x seeds, seeds fastest.

        Args:
            only: KEY=VALUE filters on model_id, method_id, seed, or any field of [train], [data] and [method.NAME];
                values of one key add up, keys narrow down.

        Raises:
            UsageError: an unknown key or a filter that leaves nothing; or two cells that are the same run.
            DataError: the data can't be identified.
        """
        cells = [
            cell
            for model_id in self.models
            for base in [Base.of(model_id)]
            for method_id in self.methods
            for recipe in self._recipes(model_id, method_id)
            for cell in self._cells(base, method_id, recipe)
        ]
        cells = only_cells(cells, only)
        if not cells:
            raise UsageError(f"--only {' '.join(only)}: no cell of sweep {self.name!r} is left")
        _refuse_twins(cells)
        return cells

    def _cells(self, base: Base, method_id: str, recipe: _Recipe) -> Iterator[Cell]:
        for data, identity, named in self._identified:
            for seed in self.seeds:
                yield Cell(
                    sweep=self.sweep_id,
                    model_id=base.model_id,
                    revision=base.revision,
                    method_id=method_id,
                    settings=recipe.settings,
                    seed=seed,
                    data=data,
                    data_identity=identity,
                    train=recipe.train,
                    threads=self.compute.threads,
                    tasks=self.tasks,
                    trust_remote_code=self.compute.trust_remote_code,
                    task_options={name: self.task_table(name) for name in self.tasks},
                    weights=base.weights,
                    named={**base.named, **named},
                )

    @cached_property
    def _identified(self) -> list[tuple[DataSpec, str, dict[str, str]]]:
        """The data of the sweep, what identifies their content (worked out once for each content), and what did so
        before it was known which commit a name on the hub means."""
        from astraios.data.sources import SOURCES

        found: dict[str, tuple[Mapping[str, Any], str, dict[str, str]]] = {}
        specs = self._data_specs()
        keys = [json.dumps(dict(spec.options), sort_keys=True) for spec in specs]
        for spec, key in zip(specs, keys, strict=True):
            if key not in found:
                source = SOURCES.get(spec.source)
                options = source.pinned(spec.options)
                identity = source.identity(options)
                named = source.identity(spec.options) if options != spec.options else identity
                found[key] = options, identity, {} if named == identity else {"data_identity": named}
        return [
            (dataclasses.replace(spec, options=options), identity, named)
            for spec, (options, identity, named) in zip(specs, map(found.__getitem__, keys), strict=True)
        ]

    def _data_specs(self) -> list[DataSpec]:
        """The [data] table at each combination of its values."""
        own = rules_of(DataSpec)
        specs = []
        for values in combinations(self.axes.get("data", {})):
            fields = {name: value for name, value in values.items() if name in own}
            options = {**self.data.options, **{name: value for name, value in values.items() if name not in own}}
            specs.append(dataclasses.replace(self.data, **fields, options=options))
        return specs

    def _check_method(self, method_id: str) -> None:
        """Refuses a [method.NAME] table that makes no sense for the method or for a base model that it names."""
        table = require_table(self.method.get(method_id, {}), f"[method.{method_id}] ")
        known = [name for model_id in self.models for name in names_of(model_id)]
        for model in (key for key, value in table.items() if isinstance(value, Mapping)):
            if model not in known:
                raise UsageError(
                    f"[method.{method_id}.{model}] no base model of this sweep; {did_you_mean(model, known)}"
                )
        for model_id in self.models:
            self._recipes(model_id, method_id)

    def task_table(self, name: str) -> dict[str, Any]:
        """How an entry of `tasks` is evaluated: what is said for all, over it for its task, over it for the entry."""
        from astraios.evaluate.options import EvaluateOptions
        from astraios.evaluate.tasks import find_asked

        task, _ = find_asked(name)
        takes = {*EvaluateOptions.names(), *rules_of(task.own_options)}
        shared = {key: value for key, value in self.task.items() if not isinstance(value, Mapping) and key in takes}
        return {**shared, **self.task.get(task.name, {}), **self.task.get(name, {})}

    def _check_tasks(self) -> None:
        """Refuses tasks that are unknown or twice the same, and options that none of them takes."""
        from astraios.evaluate.options import EvaluateOptions
        from astraios.evaluate.tasks import TASKS, find_asked

        for name in (key for key in self.task if key.partition("@")[0] in TASKS):
            require_table(self.task[name], f"[task.{name}] ")
        for name in (*self.tasks, *(key for key, value in self.task.items() if isinstance(value, Mapping))):
            find_asked(name)[0].read_options(EvaluateOptions, self.task_table(name), f"[task.{name}] ")
        own = [rules_of(find_asked(name)[0].own_options) for name in self.tasks]
        known = {*EvaluateOptions.names(), *itertools.chain(*own)}
        for key in (key for key, value in self.task.items() if not isinstance(value, Mapping)):
            if key not in known:
                raise UsageError(f"[task] {key}: none of the tasks takes it; {did_you_mean(key, known)}")

    def _table_of(self, model_id: str, method_id: str) -> dict[str, Any]:
        """What [method.NAME] says for a base model: its plain keys, and over them those of the table that it names."""
        table = self.method.get(method_id, {})
        own = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
        for name in names_of(model_id):
            own |= table.get(name, {})
        return own

    def _recipes(self, model_id: str, method_id: str) -> list[_Recipe]:
        """What a method is trained with at each combination of the values of [train] and of its own table.

        Raises:
            UsageError: a value or a combination of some makes no sense.
        """
        from astraios.models.methods import METHODS

        method, prefix = METHODS.get(method_id), f"[method.{method_id}] "
        table = self._table_of(model_id, method_id)
        rules = {name: rule for name, rule in rules_of(TrainSpec).items() if name not in method.settings}
        first, axes = split_axes({**rules, **method.rules}, table, prefix, NO_AXES)
        method.with_defaults({name: value for name, value in first.items() if name not in rules}, rules)
        check(rules, {name: value for name, value in first.items() if name in rules}, prefix)
        shared = {name: values for name, values in self.axes.get("train", {}).items() if name not in table}
        recipes = []
        for of_train, of_method in itertools.product(combinations(shared), combinations(axes)):
            values = {**first, **of_method}
            own = {name: value for name, value in values.items() if name not in rules}
            changes = {name: as_setting(rules[name], value) for name, value in values.items() if name in rules}
            train = dataclasses.replace(self.train, **of_train, **changes)
            recipes.append(_Recipe(method.with_defaults(own), _with_defaults(train, method)))
        return recipes


@dataclass(frozen=True)
class _Recipe:
    """What a method is trained with."""

    settings: Mapping[str, Any]
    train: TrainSpec


def _with_defaults(train: TrainSpec, method: TuningMethod) -> TrainSpec:
    """The recipe with the method's own learning rate and precision where the sweep leaves them to it."""
    rate = train.learning_rate or method.learning_rate
    own = method.quantization or "none"
    quantization = own if train.quantization == "auto" else train.quantization
    return dataclasses.replace(train, learning_rate=float(rate), quantization=quantization)


def _refuse_twins(cells: Iterable[Cell]) -> None:
    """Two folders may hold the same base, and "auto" may mean what another value says."""
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.run_id, cell)
        if other is cell:
            continue
        if other.model_id != cell.model_id:
            raise UsageError(
                f"models {other.model_id!r} and {cell.model_id!r} hold the same weights, so that their cells are the "
                "same runs: name one of them"
            )
        raise UsageError(
            f"two cells of {cell.model_id} {cell.method_id} seed {cell.seed} are the same run: "
            f'a value of a list means what another one says (quantization = "auto" is {cell.train.quantization!r} here)'
        )


_COMPOSITE = {"tasks": rule_of_type("list")}


def _data(table: Any) -> tuple[DataSpec, dict[str, tuple[Any, ...]]]:
    """The [data] table with the first of each list of values, and the lists: fields of DataSpec, and what its source
    takes."""
    from astraios.data.sources import SOURCES

    require_table(table, "[data] ")
    own = {name: rule for name, rule in rules_of(DataSpec).items() if name != "options"}
    if isinstance(table.get("source"), list):
        raise UsageError("[data] source: one source a sweep, for each takes options of its own")
    spec = build(DataSpec, {"source": table["source"]} if "source" in table else {}, "[data] ")
    options = {name: rule_of_type(kind) for name, kind in SOURCES.get(spec.source).options.items()}
    first, axes = split_axes({**options, **own}, table, "[data] ")
    spec = build(DataSpec, {name: value for name, value in first.items() if name in own}, "[data] ")
    given = {name: value for name, value in first.items() if name not in own}
    check(options, given, "[data] ", besides=own)
    return dataclasses.replace(spec, options=given), axes
