"""The verb for what is known of tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, Json, app, example
from astraios.cli.complete import values
from astraios.errors import UsageError


@app.command(
    epilog=example(
        "astraios task",
        "astraios task arc_challenge",
        "astraios task my-choices --chance 0.25 --ceiling 1",
        "astraios task my-choices --metric acc_norm --chance 0.2",
        "astraios task my-choices --forget",
    )
)
def task(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Of the task; without one, list all.", autocompletion=values("scored_tasks")
        ),
    ] = None,
    chance: Annotated[float | None, typer.Option(metavar="X", help="Score of guessing, a fraction.")] = None,
    ceiling: Annotated[float | None, typer.Option(metavar="X", help="Best possible score.")] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="M", help="Of this metric alone; else of all of which more is better.")
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Take back what was said.")] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Say what guessing scores on a task, and show what is known of tasks and who says so (table task_fact)."""
    from astraios import store, workflow

    path = store.database_path(db)
    says = chance is not None or ceiling is not None
    if name is None and (says or forget or metric):
        raise UsageError("--chance, --ceiling, --metric and --forget are about one task: name it")
    if says and forget:
        raise UsageError("--forget takes back what --chance and --ceiling say: give one or the other")
    if name is None or not (says or forget):
        rows = [row for row in workflow.known_tasks(path, name) if metric in (None, row["metric"])]
    elif forget:
        rows = workflow.forget_task(path, name, metric)
    else:
        rows = workflow.correct_task(path, name, chance=chance, ceiling=ceiling, metric=metric)
    if as_json:
        terminal.print_json(rows)
    else:
        terminal.print_table(rows, title="Tasks")
