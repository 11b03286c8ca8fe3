"""Importing: results of other tools and built-in studies into the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import DataError, UsageError, did_you_mean
from astraios.fit.sizes import parse_size
from astraios.records import TABLES
from astraios.workflow.sizes import rung_names

if TYPE_CHECKING:
    from astraios.importers import Imported, Importer, Wanted

_ALIASES = {"model": "model_id", "method": "method_id", "dataset": "dataset_id", "size": "n_params", "run": "run_id"}
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
    """COLUMN=VALUE pairs that hold for every run of the source."""
    private: bool = False
    """Keep host names, user names and paths."""
    dry_run: bool = False
    """Read and count, write nothing."""


def import_results(db: Path, source: str, request: ImportRequest) -> dict[str, Any]:
    """Takes results of another tool, or a built-in study, into the database.

    Args:
        db: the database.
        source: a path, or the name of a built-in study.
        request: options.

    Returns:
        format, title and guessed (whether nobody named it), rows by table, reasons by what was skipped.

    Raises:
        UsageError: unknown format, malformed option, or the source does not say what a run needs.
        DataError: the source can't be read.
    """
    from astraios.importers import Wanted, choose

    columns = _pairs("--map", request.mapping, "loss=eval/loss")
    values = _facts(_pairs("--set", request.facts, "n_params=1.1B"))
    importer = choose(source, request.form)
    if columns and not importer.maps:
        raise UsageError(f"--map means nothing to the format {importer.name!r}: leave it out")
    if "run_id" in values:
        values = {**_stored_run(db, values["run_id"]), **values}
    imported = _read(importer, source, Wanted(columns, values, private=request.private))
    if "run_id" in values and not imported.adds:
        raise UsageError("--set run_id: only evaluations can join a run that is there; leave it out")
    rows = {table: len(frame) for table, frame in imported.frames.items()}
    if not request.dry_run:
        store.import_frames(db, imported.frames, imported.adds)
    return {
        "format": importer.name,
        "title": importer.title,
        "guessed": request.form is None,
        "rows": rows,
        "skipped": dict(imported.skipped),
    }


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
    for name, text in given.items():
        if name in _WHOLE:
            is_number = name == "seed" and text.lstrip("-").isdigit()
            facts[name] = int(text) if is_number else round(parse_size(text, names if name == "n_params" else None))
        elif name in _NUMBERS:
            facts[name] = _number(name, text)
        elif name in _TEXTS:
            facts[name] = text
        else:
            raise UsageError(f"--set {name}: {did_you_mean(name, (*_WHOLE, *_NUMBERS, *_TEXTS))}")
    return facts


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--set {name}={text}: a number was expected") from None


def _stored_run(db: Path, run_id: str) -> dict[str, Any]:
    """What the database knows of the run that evaluations are to join."""
    columns = "run_id, model_id, method_id, dataset_id, seed, n_params, n_trainable"
    found = store.query(db, f"select {columns} from run where run_id = ?", [run_id]).to_dicts()
    if not found:
        raise UsageError(f"--set run_id={run_id}: {db} holds no such run")
    return found[0]
