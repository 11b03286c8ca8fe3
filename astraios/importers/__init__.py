"""Importers of other tools' results, one file each. One is registered by being a module-level `Importer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import DataError, UsageError, did_you_mean
from astraios.registry import Registry

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Wanted:
    """What the user said about a source."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Names in the source by the names that astraios has for them (--map)."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Facts about every run of the source, by column of the table run (--set); they go before what the source says."""
    facts: Callable[[str, str, str], Mapping[str, Any]] = field(default=lambda run_id, label, place: {})
    """Facts about one run, by its id, label and place (--facts); they go before --set."""
    strict: bool = False
    """Whether one item that can't be read refuses the whole source, instead of being skipped with its reason."""
    private: bool = False
    """Whether host names, user names and paths are kept. Tokens and keys never are."""


@dataclass(frozen=True)
class Arrival:
    """A run that was read, as it is recognised among those that are there."""

    run_id: str
    label: str
    """What messages call it."""
    tool: str
    place: str = ""
    """Folder or file that it was found in; of an evaluation, the model's folder where that is there."""
    joins: Sequence[str] = ()
    """Of an evaluation: what the harness calls the model, by which its run is found."""
    ids: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Ids by tracker, as live runs keep them too."""
    source: Mapping[str, str] = field(default_factory=dict)
    """Where each fact came from, by column."""
    named: bool = False
    """Whether its id is the tracker's own, or the name that a table gives it."""
    unfinished: str = ""
    """Why it has no end, as far as its tool says; empty where it has one."""


@dataclass(frozen=True)
class Imported:
    """Rows by table of the database, and what was left out."""

    frames: Mapping[str, pl.DataFrame]
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Reasons, by what was left out."""
    adds: bool = False
    """Whether the rows are evaluations that join what a run has already, task by task, instead of replacing it."""
    runs: Sequence[Arrival] = ()
    """The runs among the rows, in their order; without any the rows are stored as they are."""
    damaged: bool = False
    """Whether something was left out because it could not be read."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """A format that can be read."""

    name: str
    """What --format takes, for instance "trainer"."""
    title: str
    """What it is called in messages."""
    priority: int = 0
    """Where several formats recognise a source, the largest is taken."""
    maps: bool = False
    """Whether --map means something to it."""

    def matches(self, source: str) -> bool:
        """Whether `source` looks like this format; read as little of it as will do."""
        raise NotImplementedError

    def read(self, source: str, wanted: Wanted) -> Imported:
        """The rows of a source.

        Args:
            source: a path, or the name of what is built in.
            wanted: what the user said about it.

        Raises:
            DataError: the source is not whole or not what it claims to be; one line with file and place.
            UsageError: the source does not say something that a run needs; the line names the option that does.
        """
        raise NotImplementedError


IMPORTERS: Registry[Importer] = Registry(Importer, "astraios.importers", "import format", group="astraios.importers")


def choose(source: str, form: str | None) -> Importer:
    """The importer named `form`, or the one that recognises `source`.

    Raises:
        UsageError: none does, or there is no such file.
    """
    if form is not None:
        return IMPORTERS.get(form)
    path = Path(source)
    if path.exists() and not path.is_dir() and not path.is_file():
        raise DataError(f"{source}: not a plain file: pipes and devices are not read")
    for importer in sorted(IMPORTERS, key=lambda one: -one.priority):
        if importer.matches(source):
            return importer
    if not Path(source).exists():
        raise UsageError(f"nothing to import: {source!r} is no file, folder or built-in study")
    raise UsageError(f"{source}: format not recognised: name it with --format; {did_you_mean('', IMPORTERS.names())}")
