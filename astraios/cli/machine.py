"""The verb that looks at the machine."""

from __future__ import annotations

from astraios.cli import terminal
from astraios.cli.app import Json, app, example


@app.command(epilog=example("astraios doctor", "astraios doctor --json"))
def doctor(as_json: Json = False) -> None:
    """Say what this machine offers: isolation for generated programs (and why), Java, analysers."""
    from astraios import workflow

    found = workflow.doctor()
    if as_json:
        terminal.print_json(found)
    else:
        terminal.print_facts(found)
