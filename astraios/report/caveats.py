"""What must stand beside a projection wherever it is shown: that it is stale, and what its fits warned of."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astraios.report.study import FitState, Study, fit_state, reads_fits
from astraios.report.theme import SCHEMES, clip

if TYPE_CHECKING:
    from astraios.report.base import Figure, Query, Table

SHOWN = 3
"""Warnings that a picture has room for."""
CHARACTER = 6.2
"""Pixels of a character at the size of these lines, rather more than less."""


@dataclass(frozen=True)
class Caveats:
    """Of one figure or table."""

    stale: str = ""
    """Why its numbers are not those of the runs as they are now; empty when they are."""
    notes: tuple[str, ...] = ()
    """What its fits warned of."""

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it, the stale first."""
        return (self.stale, *self.notes) if self.stale else self.notes

    def markdown(self) -> list[str]:
        """A block quote and an empty line; nothing where there is nothing to say."""
        from astraios.report.layout import escape_markdown

        stale = [f"> **Stale.** {escape_markdown(self.stale)}"] if self.stale else []
        quoted = [*stale, *(f"> **Warning.** {escape_markdown(note)}" for note in self.notes)]
        return ["\n>\n".join(quoted), ""] if quoted else []

    def title(self, width: float, scheme: str, own: Sequence[str] = ()) -> dict[str, Any]:
        """The title of a Vega-Lite chart that says it; empty where there is nothing to say.

        Args:
            width: of the chart, pixels.
            scheme: light or dark.
            own: lines that the chart has as its title already.
        """
        if not self.lines:
            return {}
        more = len(self.notes) - SHOWN
        notes = [*self.notes[:SHOWN], *([f"{more} more warnings: astraios report shows them all."] if more > 0 else [])]
        columns = max(20, int(width / CHARACTER))
        colours = SCHEMES[scheme]
        return {
            "title": {
                "text": _wrapped([self.stale] if self.stale else [], columns), "color": colours["accent"],
                "subtitle": _wrapped([*notes, *own], columns), "subtitleColor": colours["soft"], "anchor": "start",
                "fontSize": 11, "subtitleFontSize": 11, "fontWeight": "bold", "offset": 10,
            }
        }  # fmt: skip


def _wrapped(texts: Sequence[str], columns: int) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, columns)]


@dataclass(frozen=True)
class Fits:
    """What a study's fits have to say about themselves."""

    state: FitState
    warned: Mapping[str, Sequence[str]]
    """Warnings by fit_id."""

    def beside(self, thing: Figure | Table, fit_ids: Sequence[str] = ()) -> Caveats:
        """What belongs beside a figure or table that shows these fits."""
        if not fit_ids and not reads_fits(thing.sql):
            return Caveats()
        return self._about(fit_ids)

    def of_curves(self, query: Query, study: Study | None) -> Caveats:
        """What belongs beside numbers that are read from the newest curves."""
        sql = "select distinct fit_id from latest_curve where coalesce(split, 'test') = 'test' order by fit_id"
        return self._about(query(study.select(sql) if study else sql)["fit_id"].to_list())

    def _about(self, fit_ids: Sequence[str]) -> Caveats:
        notes = {note for fit in fit_ids for note in self.warned.get(fit, ())}
        return Caveats(self.state.warning, tuple(sorted(notes)))


def fits_of(query: Query, study: Study | None) -> Fits:
    """The state of a study's fits and all that they warned of."""
    if study is None:
        return Fits(FitState("", ""), {})
    found = query("select fit_id, warnings from fit where json_array_length(warnings) > 0").rows()
    warned = {fit: [clip(note["message"], 300) for note in json.loads(notes)] for fit, notes in found}
    return Fits(fit_state(query, study), warned)
