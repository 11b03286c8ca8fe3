"""The state from which an interrupted run goes on: one file, replaced atomically."""

from __future__ import annotations

import os
from dataclasses import fields
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

    def load(self) -> TrainState | None:
        """The last state saved, or None. An unreadable file counts as none: training starts over, nothing is lost."""
        import torch

        try:
            return TrainState(**torch.load(self.path, map_location="cpu", weights_only=True))
        except FileNotFoundError:
            return None
        except (RuntimeError, EOFError, OSError, TypeError, ValueError, KeyError):
            return None

    def remove(self) -> None:
        """Deletes the checkpoint, once what it led to has been written."""
        self.path.unlink(missing_ok=True)
