"""The verb that closes a run."""

from __future__ import annotations

from typing import Annotated

import typer

from astraios.cli import terminal
from astraios.cli.app import Json, Runs, app, example


@app.command(epilog=example("astraios finish live-3f2a91c0d4e5b6a7", "astraios finish mine-7b --failed 'diverged'"))
def finish(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of runs that `astraios.init` began.")],
    out: Runs = "runs",
    failed: Annotated[str | None, typer.Option(metavar="REASON", help="They failed, and why.")] = None,
    as_json: Json = False,
) -> None:
    """Close interrupted runs of `astraios.init` with what was logged of them; `astraios ingest` then takes them in."""
    from astraios import workflow

    found = workflow.finish(runs, out, failed)
    if as_json:
        terminal.print_json(found)
        return
    for run in found:
        planned = f" of {run['planned_steps']} planned" if run["planned_steps"] else ""
        terminal.say(f"{run['run_id']}: {run['state']} at step {run['step']}{planned}, {run['n_points']} losses")
