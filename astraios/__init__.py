"""astraios: scaling analysis for tuned language models, with a results database.

The public names load on first use, so that importing the package costs nothing: `fit` (a function and the package of
the laws behind it), `init` (a run that is logged while it trains), `load_fit`, `open_db`, `studies`, `Sweep`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from astraios import fit
from astraios.fit import drawing

if TYPE_CHECKING:
    from astraios.fit.results import FitResult

__version__ = "0.1.0"

_LAZY = {
    "init": ("astraios.track", "init"),
    "load_fit": ("astraios.workflow", "load_fit"),
    "open_db": ("astraios.store", "open_db"),
    "studies": ("astraios.workflow", "studies"),
    "Sweep": ("astraios.collect.plan.sweep", "Sweep"),
}

__all__ = ["Sweep", "__version__", "fit", "init", "load_fit", "open_db", "studies"]


def _plot(result: FitResult) -> Any:
    from astraios.report import plot

    return plot(result)


drawing.draw = _plot


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'astraios' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    """Public names, and the rooms that have been imported: what an editor or a notebook is to complete."""
    rooms = {name for name, value in globals().items() if getattr(value, "__name__", "") == f"{__name__}.{name}"}
    return sorted({*__all__, *rooms, *(name for name in globals() if name.startswith("__"))})
