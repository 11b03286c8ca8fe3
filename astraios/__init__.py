"""astraios: scaling analysis for tuned language models, with a results database.

The public names load on first use, so that importing the package costs nothing: `fit` (a function and the package of
the laws behind it), `load_fit`, `open_db`, `Sweep`.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "fit": ("astraios.fit", None),
    "load_fit": ("astraios.workflow", "load_fit"),
    "open_db": ("astraios.store", "open_db"),
    "Sweep": ("astraios.collect.plan.sweep", "Sweep"),
}

__all__ = ["Sweep", "__version__", "fit", "load_fit", "open_db"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'astraios' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    loaded = importlib.import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)
