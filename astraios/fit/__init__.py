"""Fitting: laws, estimator, uncertainty, pooling and decisions.

The package is also the function: `astraios.fit(frame, ...)` is `astraios.fit.api.fit`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astraios.fit.results import FitResult


class _Callable(ModuleType):
    """A module that can be called, since the package and the function share their name."""

    def __call__(self, *args: Any, **kwargs: Any) -> FitResult:
        from astraios.fit.api import fit

        return fit(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
