"""Studies of a database: which there are, which one is meant, and the facts of its runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import StoreError, UsageError, did_you_mean
from astraios.records.fitted import fingerprint
from astraios.store.connect import run_query

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

NO_NUMBER = {
    "steps", "learning_rate", "eval_every", "log_every", "checkpoint_every", "micro_batch", "gradient_checkpointing",
    "attention", "processes", "fsdp", "source", "test_blocks", "train_eval_blocks", "path", "test_path",
    "n_train_tokens",
}  # fmt: skip
"""Settings of a run that are columns already, or that change no number."""
BITS: Mapping[str, float] = {
    "float64": 64, "float32": 32, "bfloat16": 16, "float16": 16, "8bit": 8, "int8": 8, "fp8": 8, "nf4": 4, "fp4": 4,
    "4bit": 4,
}  # fmt: skip
"""Nominal bits of a base's weights by its type or its quantization, without scales and what is left unquantized."""


@dataclass(frozen=True)
class Study:
    """One study, or several that were joined on purpose."""

    names: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def name(self) -> str:
        """As --study takes it."""
        return ",".join(self.names)

    @property
    def key(self) -> str:
        """Its name whatever else the database holds (column fit.study)."""
        return ",".join(sorted(self.keys))

    @property
    def condition(self) -> str:
        """SQL that is true of its runs, over a column run_id."""
        keys = ", ".join("'" + key.replace("'", "''") + "'" for key in self.keys)
        return f"run_id in (select run_id from run_study where study_key in ({keys}))"

    @property
    def condition_of_key(self) -> str:
        """The same over a column study_key."""
        return "study_key in (" + ", ".join("'" + key.replace("'", "''") + "'" for key in self.keys) + ")"


@dataclass(frozen=True)
class RunFacts:
    """Facts of runs: a row a run, a column a fact; null where a run does not say."""

    frame: pl.DataFrame
    """run_id and the facts."""
    settings: tuple[str, ...]
    """Facts that are settings of the tuning method."""
    derived: tuple[str, ...] = ("unique_tokens", "tokens_per_step", "bits")
    """Facts that follow from others: inputs that a law may take, and no axes by themselves."""


def studies(connection: DuckDBPyConnection) -> pl.DataFrame:
    """The view study, the one with most runs first."""
    return run_query(connection, "from study order by n_runs desc, study")


def choose(connection: DuckDBPyConnection, path: Path, wanted: str | None, ladder: str | None = None) -> Study:
    """The study that is meant: the only one (on a ladder), or what --study names, several with commas.

    Raises:
        StoreError: no run has finished.
        UsageError: several and none named, or a name that fits none or several; the line lists them.
    """
    known = studies(connection)
    if ladder is not None and len(known):
        ladders = known["ladder"].drop_nulls().unique().sort().to_list()
        if ladder not in ladders:
            raise UsageError(f"--ladder {ladder!r}: {did_you_mean(ladder, ladders)}")
        known = known.filter(known["ladder"].eq_missing(ladder))
    names = known["study"].to_list()
    if not names:
        raise StoreError(f"{path} holds no finished run: run `astraios collect` or `astraios import` first")
    if wanted is None:
        if len(names) > 1:
            raise UsageError(f"{path} holds {len(names)} studies, {listed_studies(known)}: {_choices(names)}")
        return Study((names[0],), (known["study_key"][0],))
    keys = dict(known.select("study", "study_key").iter_rows())
    found = [_meant(name.strip(), keys, known) for name in wanted.split(",")]
    found = list(dict.fromkeys(found))
    return Study(tuple(found), tuple(keys[name] for name in found))


def _meant(wanted: str, keys: dict[str, str], known: pl.DataFrame) -> str:
    if wanted in keys:
        return wanted
    exact = [name for name, key in keys.items() if key == wanted]
    near = exact or [
        name for name, key in keys.items() if wanted and (name.startswith(wanted) or key.startswith(wanted))
    ]
    if len(near) == 1:
        return near[0]
    if near:
        raise UsageError(f"--study {wanted}: fits {len(near)} studies, {', '.join(near)}: {_choices(near)}")
    raise UsageError(f"--study {wanted!r}: {did_you_mean(wanted, keys)}")


def _choices(names: Sequence[str]) -> str:
    return f"choose one with --study {names[0]}, or join some on purpose with --study {names[0]},{names[1]}"


def listed_studies(known: pl.DataFrame) -> str:
    """Studies with their counts, in one line."""
    rows = known.select("study", "n_runs").iter_rows()
    return ", ".join(f"{name} ({n:,} run{'' if n == 1 else 's'})" for name, n in rows)


def facts(connection: DuckDBPyConnection, study: Study) -> RunFacts:
    """What is known of how the runs of a study were made."""
    import polars as pl

    frame = run_query(
        connection,
        "select r.run_id, r.origin, r.model_id, r.method_id, coalesce(d.name, r.dataset_id) as dataset_id, r.seed, "
        "r.learning_rate, r.tokens_per_step, d.n_train_tokens as unique_tokens, r.settings\n"
        f"from run r left join dataset d using (dataset_id)\nwhere r.{study.condition}\norder by r.run_id",
    )
    flat = [_flat(text) for text in frame["settings"]]
    methods = tuple(dict.fromkeys(name for own, _ in flat for name in own))
    others = dict.fromkeys(name for _, rest in flat for name in rest if name not in methods)
    columns = {name: [own.get(name) for own, _ in flat] for name in methods}
    columns |= {name: [rest.get(name) for _, rest in flat] for name in others if name not in frame.columns}
    more = pl.DataFrame({name: _column(values) for name, values in columns.items()})
    whole = frame.drop("settings").hstack(more) if columns else frame.drop("settings")
    whole = whole.with_columns(bits=pl.Series([_bits({**own, **rest}) for own, rest in flat], dtype=pl.Float64))
    if "batch_size" in whole.columns and whole["batch_size"].null_count() == 0:
        whole = whole.drop("tokens_per_step")
    return RunFacts(whole, methods)


@cache
def _flat(settings: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the method, and those of training and data, by name; single values only."""
    content = json.loads(settings) if settings else {}
    if not isinstance(content, dict):
        return {}, {}
    own = _single(content.get("settings"))
    return own, {**_single(content.get("data")), **_single(content.get("train"))}


def _bits(settings: Mapping[str, Any]) -> float | None:
    """Bits of the weights that a run was trained over; None where it does not say."""
    quantization = settings.get("quantization")
    return BITS.get(str(settings.get("dtype") if quantization in (None, "none") else quantization))


def _single(table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        return {}
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name == "options" and isinstance(value, dict):
            found |= _single(value)
        elif name not in NO_NUMBER:
            found[name] = value if isinstance(value, str | int | float | bool) or value is None else json.dumps(value)
    return found


def _column(values: Iterable[Any]) -> pl.Series:
    import polars as pl

    values = list(values)
    known = {type(value) for value in values if value is not None}
    if known <= {int, float} and len(known) == 2:
        values = [None if value is None else float(value) for value in values]
    elif len(known) > 1:
        values = [None if value is None else str(value) for value in values]
    return pl.Series(values=values, strict=False)


def rows_hash(connection: DuckDBPyConnection, sql: str) -> str:
    """Hash of the rows that a query gives, whatever their order."""
    return fingerprint(run_query(connection, sql).rows())


def stale_fits(connection: DuckDBPyConnection) -> dict[str, str]:
    """Studies (by key) whose newest fit rests on other rows than its query gives now; the command that renews it."""
    names = dict(studies(connection).select("study_key", "study").iter_rows())
    newest = run_query(connection, "select study_key, data_sql, query_hash from newest_fit order by study_key")
    found = {}
    for key, sql, known in newest.iter_rows():
        if known is None or not _gives(connection, sql, known):
            name = ",".join(names.get(part, part) for part in key.split(","))
            found[key] = f"astraios fit-scaling --study {name}"
    return found


def _gives(connection: DuckDBPyConnection, sql: str, known: str) -> bool:
    try:
        return rows_hash(connection, sql) == known
    except StoreError:
        return False
