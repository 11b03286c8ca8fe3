"""A note in a model's folder that says which run it came of, for whoever evaluates it later."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from astraios.files import write_atomically
from astraios.track.run import Run

NAME = "astraios-run.json"


@dataclass(frozen=True)
class Note:
    """What a note says."""

    run_id: str
    out: str


def leave(folder: Path, run: Run) -> None:
    """Writes the note of a run that is open."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / NAME, json.dumps({"run_id": run.id, "out": run.out}).encode())


def find(folder: Path) -> Note | None:
    """The note of a folder, or None."""
    try:
        told = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return Note(str(told["run_id"]), str(told["out"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
