"""Verbs that run a sweep and follow it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astraios.cli.app import Db, Json, Runs, app, example


@app.command(
    epilog=example(
        "astraios collect tiny",
        "astraios collect my.toml --only method_id=lora --only seed=0",
        "astraios collect astraios --dry-run --json",
    )
)
def collect(
    sweep: Annotated[str, typer.Argument(help="A TOML file, or a built-in sweep.")] = "tiny",
    out: Runs = "runs",
    db: Db = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only cells with this model_id, method_id or seed.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")] = False,
    launcher: Annotated[str, typer.Option(help="Where cells run: local, ray or slurm.")] = "local",
    cell: Annotated[
        Path | None, typer.Option(metavar="CELL.json", help="Run this one cell, here: what launchers start.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train and score a grid of models, and record them. Stop it at any time: the same command goes on."""
    from astraios import console, store, workflow

    if cell is not None:
        workflow.run_cell(cell, out, console.CellProgress().tell)
        return
    request, plans = workflow.plan(sweep, only or [], launcher)
    if dry_run:
        rows, totals = workflow.estimated(request, plans, store.database_path(db))
        console.print_sweep(request.name, rows, totals, as_json)
        return
    progress = console.SweepProgress(quiet=as_json)
    try:
        outcome, ingested = workflow.collect(
            request, plans, out, store.database_path(db), launcher, progress.start, progress.tell
        )
    finally:
        progress.stop()
    console.sweep_summary(outcome, ingested, store.database_path(db), as_json)
    if outcome.failed:
        raise typer.Exit(1)


@app.command(epilog=example("astraios status tiny", "astraios status tiny --watch", "astraios status --json"))
def status(
    sweep: Annotated[str | None, typer.Argument(help="A sweep, to see what it still lacks.")] = None,
    out: Runs = "runs",
    watch: Annotated[bool, typer.Option("--watch", help="Go on and show the changes, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="With --watch: how often to look.")] = 5.0,
    as_json: Json = False,
) -> None:
    """How the runs stand: waiting, running, interrupted, failed (and why), done; throughput and the time left."""
    from astraios import console, workflow

    if watch:
        console.watch_status(lambda: workflow.status(out, sweep), every)
    else:
        console.print_status(*workflow.status(out, sweep), as_json)


@app.command(
    epilog=example("astraios ingest --out runs", "astraios ingest --watch", "astraios ingest --out s3://lab/runs")
)
def ingest(
    out: Runs = "runs",
    db: Db = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and take in what gets finished, until Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="With --watch: how often to look.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Take finished run directories into the database; those it has already are left alone."""
    from astraios import console, store

    path = store.database_path(db)
    if watch:
        store.watch(path, out, every, lambda report: console.ingest_summary(report, as_json))
    else:
        console.ingest_summary(store.ingest(path, out), as_json)
