"""What the shell completes: callbacks that ask `astraios.completion`, and give nothing where anything goes wrong."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import typer


def values(kind: str) -> Callable[[typer.Context, str], list[tuple[str, str]]]:
    """A callback that completes values of a kind. A shell that completes is no place for an error."""

    def complete(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                from astraios import completion

                return completion.complete(kind, context.params.get("db"), incomplete)
        except Exception:
            return []

    return complete
