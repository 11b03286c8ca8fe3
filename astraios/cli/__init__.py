"""The command line: one thin function a verb. Nothing but typer is imported before a verb needs it."""

from __future__ import annotations

import sys
from importlib import import_module

from astraios.cli.app import app

_ROOMS = (
    "demo", "sweeps", "collect", "finish", "importing", "results", "studies", "fit", "planning", "report", "database",
    "curation", "composite", "task", "quality", "machine", "mcp",
)  # fmt: skip
"""In the order in which help shows them."""
for _room in _ROOMS:
    import_module(f"astraios.cli.{_room}")

__all__ = ["app", "main"]


def main() -> None:
    """Entry point: errors become one line on stderr and an exit code."""
    from astraios.errors import AstraiosError, is_full, why

    try:
        app()
    except AstraiosError as error:
        _die(" ".join(str(error).split()), error.exit_code)
    except KeyboardInterrupt:
        _die("stopped; what was recorded is kept, and the same command goes on from there", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        hint = "; free some space and run the same command again" if is_full(error) else ""
        _die(f"{error.filename or 'file system'}: {why(error)}{hint}", 1)
    except ImportError as error:
        _die(f"{error}: pip install 'astraios[train]'", 1)


def _die(message: str, code: int) -> None:
    from astraios.cli.terminal import visible

    print(f"astraios: {visible(message)}", file=sys.stderr)
    sys.exit(code)
