"""Importers of other tools' results, one file each. One is registered by being a module-level `Importer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from astraios.errors import UsageError, did_you_mean
from astraios.registry import Registry

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Imported:
    """Rows by table of the database, and what was left out."""

    frames: Mapping[str, pl.DataFrame]
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Reasons, by what was left out."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """A format that can be read."""

    name: str
    """What --format takes, for instance "trainer-state"."""
    title: str
    """What it is called in messages."""

    def matches(self, source: str) -> bool:
        """Whether `source` looks like this format; read as little of it as will do."""
        raise NotImplementedError

    def read(self, source: str, columns: Mapping[str, str]) -> Imported:
        """The rows of a source.

        Args:
            source: a path, or the name of what is built in.
            columns: names in the source by the names that astraios has for them.

        Raises:
            DataError: the source is not whole or not what it claims to be; one line with file and place.
        """
        raise NotImplementedError


IMPORTERS: Registry[Importer] = Registry(
    Importer, "astraios.collect.importers", "import format", group="astraios.importers"
)


def choose(source: str, form: str | None) -> Importer:
    """The importer named `form`, or the only one that recognises `source`.

    Raises:
        UsageError: none does, or there is no such file.
    """
    if form is not None:
        return IMPORTERS.get(form)
    for importer in IMPORTERS:
        if importer.matches(source):
            return importer
    if not Path(source).exists():
        raise UsageError(f"nothing to import: {source!r} is no file, folder or built-in study")
    raise UsageError(f"{source}: format not recognised: name it with --format; {did_you_mean('', IMPORTERS.names())}")
