"""Runs that others start: `astraios.init`, `log`, `score`, `finish`; one small file a library that can call them."""

from astraios.track.begin import init, reopen
from astraios.track.run import Run, active

__all__ = ["Run", "active", "init", "reopen"]
