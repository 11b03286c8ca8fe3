"""Who draws a fit. A fit itself knows no charts: `astraios/__init__.py` binds `astraios.report.plot` here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

draw: Callable[[Any], Any]
"""Takes a `FitResult`, gives an Altair chart."""
