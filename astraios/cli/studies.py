"""The verb that lists studies."""

from __future__ import annotations

from typing import Any

from astraios.cli import terminal
from astraios.cli.app import Db, Json, app, example


@app.command(epilog=example("astraios studies", "astraios studies --json"))
def studies(db: Db = None, as_json: Json = False) -> None:
    """List the studies of a database: the runs that may be compared with each other, and what varies among them."""
    from astraios import workflow

    found = workflow.studies(db)
    if as_json:
        terminal.print_json(found)
    else:
        terminal.print_table([_row(study) for study in found], "Studies")


def _row(study: dict[str, Any]) -> dict[str, Any]:
    axes = [f"{axis['fact']} ({axis['role']}, {len(axis['values'])})" for axis in study["axes"]]
    shown = {name: study[name] for name in ("study", "origin", "ladder", "dataset_id", "n_runs", "n_series", "n_sizes")}
    return {**shown, "axes": ", ".join(axes) or "-", "fit": study["fit"]}
