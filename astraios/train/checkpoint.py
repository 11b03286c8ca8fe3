"""The state from which an interrupted run goes on: one file, replaced atomically."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from astraios.train.loop import TrainState


class Checkpoint:
    """The file `path` and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, state: TrainState) -> None:
        """Replaces the checkpoint; a reader sees the old one or the new one, whole."""
        import torch

        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            # Not asdict, which would copy every tensor.
            torch.save({f.name: getattr(state, f.name) for f in fields(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def clean(self) -> None:
        """Deletes what processes that were killed while they saved have left: files of this exact name and no other.

        Only for the process that alone works on the run.
        """
        ours = re.compile(rf"\.{re.escape(self.path.name)}\.[0-9]+\.tmp")
        for path in self.path.parent.iterdir() if self.path.parent.is_dir() else ():
            if ours.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                path.unlink(missing_ok=True)

    def load(self) -> TrainState | None:
        """The last state saved, or None. An unreadable file counts as none: training starts over, nothing is lost."""
        import torch

        try:
            # Mapped, so that only what is used of a whole model takes memory; nobody else checks a mapped file's sums.
            with zipfile.ZipFile(self.path) as archive:
                if archive.testzip() is not None:
                    return None
            return TrainState(**torch.load(self.path, map_location="cpu", weights_only=True, mmap=True))
        except Exception:  # torch raises one of many, by where a file is cut or overwritten
            return None

    def step(self) -> int:
        """Steps done of the last state saved; 0 where there is none."""
        state = self.load()
        return state.step if state else 0

    def set_aside(self) -> Path:
        """Renames the file, so that it is kept and no run goes on from it; its new name."""
        aside = self.path.with_name(self.path.name + ".unfit")
        os.replace(self.path, aside)
        return aside

    def remove(self) -> None:
        """Deletes the checkpoint, once what it led to has been written."""
        self.clean()
        self.path.unlink(missing_ok=True)


class KeptCheckpoints:
    """Weights along training, a file a step; they are kept where somebody made the folder.

    Args:
        folder: `checkpoints/` of a run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, state: TrainState) -> None:
        """Keeps the weights of a state, without what only the next step needs."""
        if self.folder.is_dir():
            weights = {"model": state.tensors["model"]}
            Checkpoint(self.folder / f"step-{state.step:08}.pt").save(replace(state, tensors=weights))

    def states(self) -> Iterator[TrainState]:
        """What was kept, by step; a file that can't be read is passed over as if it had not been kept."""
        for path in sorted(self.folder.glob("step-*.pt")):
            state = Checkpoint(path).load()
            if state is not None:
                yield state
