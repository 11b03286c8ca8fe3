"""Importing: results of other tools and built-in studies into the database."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import AstraiosError, DataError, UsageError, did_you_mean
from astraios.fit.sizes import parse_size
from astraios.importers._models import method_name
from astraios.importers._private import short_path
from astraios.records import TABLES
from astraios.workflow.facts_file import read_facts
from astraios.workflow.joining import Joined, join, unfinished, unspecified
from astraios.workflow.sizes import rung_names

if TYPE_CHECKING:
    import polars as pl

    from astraios.importers import Imported, Importer, Wanted

_ALIASES = {"model": "model_id", "method": "method_id", "dataset": "dataset_id", "size": "n_params", "run": "run_id",
            "lr": "learning_rate", "tokens": "n_tokens"}  # fmt: skip
_KINDS = {
    **{name: column.sql for name, column in TABLES["run"].columns.items() if name not in ("sweep_id", "origin")},
    "ladder": TABLES["base_model"].columns["ladder"].sql,
}
_WHOLE, _NUMBERS, _TEXTS = (
    tuple(name for name, sql in _KINDS.items() if sql in kinds)
    for kinds in (("bigint", "integer"), ("double",), ("varchar",))
)
"""What --set takes, as the columns hold it."""


@dataclass(frozen=True)
class ImportRequest:
    """The options of `astraios import`."""

    form: str | None = None
    """Name of the format, or None to guess it."""
    mapping: Sequence[str] = ()
    """COLUMN=NAME pairs, astraios's name of a column first."""
    facts: Sequence[str] = ()
    """COLUMN=VALUE pairs that hold for every run of the sources."""
    private: bool = False
    """Keep host names, user names and paths."""
    dry_run: bool = False
    """Read and tell, write nothing."""
    recursive: bool = False
    """Take in every format that a folder holds, at any depth."""
    facts_file: Path | None = None
    """A file of facts about single runs."""
    strict: bool = False
    """Refuse everything where anything can't be read."""
    same_as: str | None = None
    """The stored run, by its id or the beginning of it, that the one arriving run is."""
    replace: bool = False
    """Let an export of astraios replace runs that were measured here."""


@dataclass
class _Read:
    """A source in one format."""

    source: str
    importer: Importer
    imported: Imported
    result: dict[str, Any] = field(default_factory=dict)


def import_results(db: Path, sources: str | Sequence[str], request: ImportRequest) -> dict[str, Any]:
    """Takes results of other tools, or a built-in study, into the database.

    Everything is read before anything is written. What can't be read is skipped, with its reason; under `strict` it
    refuses everything.

    Args:
        db: the database.
        sources: paths, patterns of paths, or the name of what is built in.
        request: options.

    Returns:
        format, title and guessed (whether nobody named it) of the first source; rows by table, reasons by what was
        skipped, notes, loads (numbers for `undo_import`) and runs (what each is to be, and where its facts are from).

    Raises:
        UsageError: unknown format, malformed option, or no source says what a run needs.
        DataError: nothing can be read, or under `strict` something can't.
    """
    from astraios.importers import Wanted

    columns = _pairs("--map", request.mapping, "loss=eval/loss")
    values = _facts(_pairs("--set", request.facts, "n_params=1.1B"))
    same_as = _stored_run(db, request.same_as, "--same-as")["run_id"] if request.same_as else None
    if "run_id" in values:
        values = {
            **_stored_run(db, values["run_id"], "--set run_id"),
            **{n: v for n, v in values.items() if n != "run_id"},
        }
    told = read_facts(request.facts_file, _facts) if request.facts_file else None
    wanted = Wanted(columns=columns, values=values, private=request.private, strict=request.strict,
                    **({"facts": told} if told else {}))  # fmt: skip
    skipped: dict[str, str] = {}
    found = _read_all([sources] if isinstance(sources, str) else list(sources), wanted, request, skipped)
    for one in found:
        if "run_id" in values and not one.imported.adds:
            raise UsageError("--set run_id: only evaluations can join a run that is there; leave it out")
    if told is not None and (unused := told.unused()):
        name = short_path(str(request.facts_file))
        skipped[f"{name}, facts"] = f"about no run of the source: {', '.join(unused[:10])}"
    return _summed(found, [_written(db, one, request, same_as) for one in found], skipped, request)


def undo_import(db: Path, load: str) -> dict[str, Any]:
    """Takes an import back: what it made goes, what it replaced is there again.

    Returns:
        format, source, and runs (how many it had made).

    Raises:
        UsageError: no such import, or a later one changed the same runs.
    """
    return store.undo(db, load)


def _read_all(sources: Sequence[str], wanted: Wanted, request: ImportRequest, skipped: dict[str, str]) -> list[_Read]:
    """All sources, each in the formats that it is taken in as."""
    errors: list[AstraiosError] = []
    found: list[_Read] = []
    pairs = []
    for source in _expanded(sources):
        try:
            pairs += [(source, importer) for importer in _importers(source, request)]
        except AstraiosError as error:
            errors.append(error)
    for source, importer in pairs:
        if wanted.columns and not importer.maps:
            raise UsageError(f"--map means nothing to the format {importer.name!r}: leave it out")
        try:
            found.append(_Read(source, importer, _read(importer, source, wanted)))
        except AstraiosError as error:
            errors.append(error)
    if errors and (request.strict or not found):
        raise errors[0] if len(errors) == 1 or request.strict else _all_of(errors)
    for one in errors:
        what, _, why = str(one).partition(": ")
        skipped[short_path(what)] = why or what
    return found


def _all_of(errors: Sequence[AstraiosError]) -> AstraiosError:
    """One error for many: a usage error where they all are."""
    kind = UsageError if all(isinstance(error, UsageError) for error in errors) else DataError
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
    return kind("; ".join(str(error) for error in errors[:3]) + more)


def _expanded(sources: Sequence[str]) -> list[str]:
    """The sources, patterns written out."""
    found: list[str] = []
    for source in sources:
        if any(sign in source for sign in "*?[") and not Path(source).exists():
            matched = sorted(glob.glob(source, recursive=True))
            if not matched:
                raise UsageError(f"nothing to import: no file or folder is called {source!r}")
            found += matched
        else:
            found.append(source)
    return found


def _importers(source: str, request: ImportRequest) -> list[Importer]:
    """The format of a source, or with `recursive` every format that a folder holds, the surest first."""
    from astraios.importers import IMPORTERS, choose

    if not request.recursive or request.form is not None or not Path(source).is_dir():
        return [choose(source, request.form)]
    every = sorted(IMPORTERS, key=lambda importer: -importer.priority)
    return [importer for importer in every if importer.matches(source)] or [choose(source, None)]


def _written(db: Path, one: _Read, request: ImportRequest, same_as: str | None) -> Joined:
    """Writes what was read of one source, each run under the id of the run that it is."""
    imported = one.imported
    if not imported.runs:
        frames, kept = (dict(imported.frames), 0) if request.replace else _without_measured(db, imported.frames)
        joined = Joined(frames)
        if kept:
            joined.notes.append(
                f"{kept:,} runs that were measured here stay as they are (--replace takes the export's)"
            )
        if not request.dry_run and frames:
            store.import_frames(db, frames, imported.adds)
        return joined
    joined = join(db, imported, same_as)
    for label in joined.lacking:
        joined.skipped[label] = "does not say how many parameters the base model has: --set n_params=SIZE"
    if "run" not in joined.frames:
        if joined.lacking:
            why = joined.skipped[joined.lacking[0]]
            raise UsageError(f"nothing to import: {short_path(joined.lacking[0])} {why}")
        raise DataError("nothing to import: " + "; ".join(f"{what}: {why}" for what, why in joined.skipped.items()))
    if request.strict and joined.skipped:
        what, why = next(iter(joined.skipped.items()))
        raise DataError(f"{what}: {why}")
    labels = {arrival.run_id: arrival.label for arrival in imported.runs}
    joined.notes += [*unspecified(joined.frames, labels), *unfinished(imported.runs)]
    if not request.dry_run:
        joined.load = store.add_results(db, joined.frames, one.importer.name, Path(one.source).name, imported.adds)
        joined.written = True
        if joined.load is None:
            joined.notes.append("all of it was there already: nothing changed")
    return joined


def _without_measured(db: Path, frames: Mapping[str, pl.DataFrame]) -> tuple[dict[str, pl.DataFrame], int]:
    """Rows of an export without the runs that were measured here and are another's there, and how many those are."""
    import polars as pl

    measured = [row["run_id"] for row in store.stored_runs(db) if row["origin"] == "measured"]
    if not measured or "run" not in frames:
        return dict(frames), 0
    kept = set(frames["run"]["run_id"].to_list()) & set(measured)
    tables = ("run", "attempt", "evaluation", "loss_summary", "loss_point", "score", "sample_score")
    cut = {
        table: frame.filter(~pl.col("run_id").is_in(list(kept))) if table in tables else frame
        for table, frame in frames.items()
    }
    return {table: frame for table, frame in cut.items() if len(frame)}, len(kept)


def _summed(
    found: Sequence[_Read], joined: Sequence[Joined], skipped: dict[str, str], request: ImportRequest
) -> dict[str, Any]:
    """What all sources came to."""
    rows: dict[str, int] = {}
    runs: list[dict[str, Any]] = []
    counted: dict[str, set[str]] = {"run": set(), "attempt": set()}
    for one, done in zip(found, joined, strict=True):
        for table, frame in done.frames.items():
            kept = _changed(done, table, frame, one.imported.adds)
            if table in counted and "run_id" in kept.columns:  # two sources may be about one run
                fresh = set(kept["run_id"].to_list()) - counted[table]
                counted[table] |= fresh
                kept = kept.head(len(fresh))
            rows[table] = rows.get(table, 0) + len(kept)
        skipped.update({**one.imported.skipped, **done.skipped})
        runs += _told(done.frames)
    first = found[0]
    return {
        "format": ", ".join(dict.fromkeys(one.importer.name for one in found)),
        "title": first.importer.title if len(found) == 1 else f"{len(found)} sources",
        "guessed": request.form is None,
        "rows": rows,
        "skipped": skipped,
        "notes": [note for done in joined for note in done.notes],
        "loads": [done.load.load_id for done in joined if done.load is not None],
        "runs": runs,
    }


def _changed(done: Joined, table: str, frame: pl.DataFrame, adds: bool) -> pl.DataFrame:
    """Rows of a table that are new, or belong to runs that are another than before."""
    import polars as pl

    if not done.written:
        return frame
    if done.load is None:
        return frame.clear()
    if "run_id" in frame.columns:
        runs = done.load.new if adds and table in ("run", "attempt") else done.load.runs
        return frame.filter(pl.col("run_id").is_in(list(runs)))
    return frame.head(len(done.load.described.get(table, ())))


def _told(frames: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """Each run as it is to be: its facts, where they came from, its splits and last losses."""
    import polars as pl

    if "run" not in frames:
        return []
    last: dict[str, dict[str, float]] = {}
    if "loss_point" in frames:
        for row in (
            frames["loss_point"].sort("step").group_by("run_id", "split").agg(pl.col("loss_nats").last()).to_dicts()
        ):
            last.setdefault(row["run_id"], {})[row["split"]] = row["loss_nats"]
    told = []
    for row in frames["run"].to_dicts():
        settings = json.loads(row["settings"]) if isinstance(row.get("settings"), str) else {}
        told.append(
            {
                "run_id": row["run_id"], "name": settings.get("name"), "model_id": row["model_id"],
                "n_params": row["n_params"], "n_trainable": row.get("n_trainable"), "method_id": row["method_id"],
                "settings": settings.get("settings") or {}, "seed": row.get("seed"),
                "learning_rate": row.get("learning_rate"), "n_tokens": row.get("n_tokens"),
                "losses": dict(sorted(last.get(row["run_id"], {}).items())),
                "from": settings.get("facts_from") or {},
            }
        )  # fmt: skip
    return told


def _read(importer: Importer, source: str, wanted: Wanted) -> Imported:
    """Reads a source; content whose shape is not that of the format is a DataError too, wherever it shows."""
    from polars.exceptions import PolarsError

    try:
        return importer.read(source, wanted)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, PolarsError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{source}: not what {importer.title} writes ({reason:.120})") from error


def _pairs(option: str, given: Sequence[str], example: str) -> dict[str, str]:
    found = {}
    for pair in given:
        ours, equals, theirs = pair.partition("=")
        if not ours or not equals or not theirs:
            raise UsageError(
                f"{option} {pair!r}: write COLUMN={'NAME' if option == '--map' else 'VALUE'}, for instance {example}"
            )
        found[_ALIASES.get(ours, ours)] = theirs
    return found


def _facts(given: dict[str, str]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    names = rung_names(given.get("ladder"))
    for alias, text in given.items():
        name = _ALIASES.get(alias, alias)
        if name in _WHOLE:
            is_number = name == "seed" and text.lstrip("-").isdigit()
            facts[name] = int(text) if is_number else round(parse_size(text, names if name == "n_params" else None))
        elif name in _NUMBERS:
            facts[name] = _number(name, text)
        elif name in _TEXTS:
            facts[name] = method_name(text) if name == "method_id" else text
        else:
            raise UsageError(f"--set {name}: {did_you_mean(name, (*_WHOLE, *_NUMBERS, *_TEXTS))}")
    return facts


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--set {name}={text}: a number was expected") from None


def _stored_run(db: Path, wanted: str, option: str) -> dict[str, Any]:
    """What the database knows of the run that is meant, by its id or the beginning of it."""
    columns = "run_id, model_id, method_id, dataset_id, seed, n_params, n_trainable"
    found = store.query(db, f"select {columns} from run where starts_with(run_id, ?)", [wanted]).to_dicts()
    exact = [row for row in found if row["run_id"] == wanted] or found
    if len(exact) != 1:
        what = "no such run" if not exact else f"{len(exact)} runs that begin so"
        raise UsageError(f"{option}={wanted}: {db} holds {what}")
    return exact[0]
