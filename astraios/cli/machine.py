"""The verb that looks at the machine."""

from __future__ import annotations

from astraios.cli.app import Json, app, example


@app.command(epilog=example("astraios doctor", "astraios doctor --json"))
def doctor(as_json: Json = False) -> None:
    """Say what this machine offers: isolation for generated programs (and why), Java, analysers."""
    from astraios import console
    from astraios.collect.execute.isolation import doctor as examine

    found = examine()
    if as_json:
        console.print_json(found)
    else:
        console.print_facts(found)
