"""Verbs that run a sweep and follow it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, Json, Runs, Study, app, example
from astraios.cli.complete import values

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from astraios.collect.launch import Event
    from astraios.collect.plan.job import Job


@app.command(
    epilog=example(
        "astraios collect tiny",
        "astraios collect my.toml --only method_id=lora --only rank=8",
        "astraios collect astraios --dry-run --data gold --device-memory 80 --devices 8 --price 2.5",
    )
)
def collect(
    sweep: Annotated[
        str, typer.Argument(help="A TOML file, or a built-in sweep.", autocompletion=values("sweeps"))
    ] = "tiny",
    out: Runs = "runs",
    db: Db = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Only cells with this model_id, method_id, seed or setting (rank, steps, ...)."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")] = False,
    launcher: Annotated[
        str, typer.Option(help="Where cells run: local, ray or slurm.", autocompletion=values("launchers"))
    ] = "local",
    device_memory: Annotated[
        float | None, typer.Option(metavar="GB", help="Plan for GPUs with this memory each (10^9 bytes).")
    ] = None,
    devices: Annotated[int | None, typer.Option(metavar="N", help="Plan for so many GPUs a machine.")] = None,
    price: Annotated[float | None, typer.Option(metavar="MONEY", help="Price of an hour of one device.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of gold data, where the sweep names none; else the hub.")
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Train one cell on N machines: the same command on each, K from 0."),
    ] = None,
    meet: Annotated[str, typer.Option(metavar="HOST:PORT", help="With --machine: where machine 0 is found.")] = "",
    cell: Annotated[
        Path | None, typer.Option(metavar="CELL.json", help="Run this one cell, here: what launchers start.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train and score a grid of models, and record them. Stop it at any time: the same command goes on."""
    from astraios import store, workflow

    if cell is not None:
        workflow.run_cell(cell, out, _CellProgress().tell)
        return
    is_first = workflow.one_of_machines(machine, meet)
    hardware = workflow.Hardware(device_memory, devices, price)
    request, plans = workflow.plan(sweep, only or [], launcher, hardware, data)
    if dry_run:
        rows, totals = workflow.estimated(request, plans, store.database_path(db), out, devices)
        _print_sweep(request.name, rows, totals, as_json)
        terminal.say_all(workflow.engines(request, plans, launcher))
        return
    if not is_first:
        workflow.join(request, plans, out, _CellProgress().tell)
        return
    plans, missing = workflow.lacking(request, plans)
    terminal.say_all([f"not scored on {task}: {why}" for task, why in missing.items()])
    terminal.say_all(workflow.engines(request, plans, launcher))
    progress = _SweepProgress(quiet=as_json)
    try:
        outcome, ingested = workflow.collect(
            request, plans, out, store.database_path(db), launcher, progress.start, progress.tell
        )
    finally:
        progress.stop()
    _print_outcome(outcome, ingested, store.database_path(db), as_json, missing)
    terminal.say_all(workflow.hints(store.database_path(db)))
    if outcome.failed:
        raise typer.Exit(1)


@app.command(epilog=example("astraios status tiny", "astraios status tiny --watch", "astraios status --json"))
def status(
    sweep: Annotated[
        str | None, typer.Argument(help="A sweep, to see what it still lacks.", autocompletion=values("sweeps"))
    ] = None,
    out: Runs = "runs",
    study: Study = None,
    db: Db = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on and show the changes, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="With --watch: how often to look.")] = 5.0,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Where the runs that have begun will end, with intervals.")
    ] = False,
    as_json: Json = False,
) -> None:
    """How the runs stand: waiting, running, interrupted, failed (and why), done; throughput and the time left."""
    from astraios import workflow

    if forecast:
        _print_forecast(workflow.forecast(out), as_json)
    elif watch:
        _watch_status(lambda: workflow.status(out, sweep, db, study), every)
    else:
        _print_status(*workflow.status(out, sweep, db, study), as_json)


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
    overrule: Annotated[
        bool, typer.Option("--overrule", help="Take these states of runs even where the database holds later ones.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take finished run directories into the database; those it has already are left alone."""
    from astraios import store

    path = store.database_path(db)
    if watch:
        store.watch(path, out, every, lambda report: _print_ingested(report, as_json))
    else:
        _print_ingested(store.ingest(path, out, overrule=overrule), as_json)


class _SweepProgress:
    """Progress of a sweep on stderr: a bar for all with the time left and one a cell, or a line a cell in a log."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.labels: dict[str, str] = {}
        self.weights: dict[str, float] = {}
        self.bars: dict[str, TaskID] = {}
        self.started: dict[str, float] = {}
        self.n_done = 0
        self.progress: Progress | None = None

    def start(self, jobs: list[Job]) -> None:
        """Told what is left to do."""
        self.labels = {job.key: job.label for job in jobs}
        self.weights = {job.key: job.weight for job in jobs}
        if self.quiet or not jobs:
            return
        if not sys.stderr.isatty():
            n_cells = len({job.plan.cell.run_id for job in jobs if job.plan})
            terminal.say(f"{len(jobs)} jobs: {n_cells} cells and the base models they need")
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )
        self.progress.start()
        self.bars[""] = self.progress.add_task("all", total=len(jobs))

    def tell(self, event: Event) -> None:
        """Told of an event."""
        if self.quiet:
            return
        if event.kind == "started":
            self.started[event.key] = time.monotonic()
        ended = event.kind in ("done", "failed", "stopped")
        self.n_done += ended
        if self.progress is None:
            if event.kind == "retried":
                terminal.say(f"{self.labels[event.key]}: tried again: {event.stage}")
            if ended:
                took = time.monotonic() - self.started.get(event.key, time.monotonic())
                how = f"done in {took:.0f} s" if event.kind == "done" else f"{event.kind}: {event.stage}"
                terminal.say(f"[{self.n_done}/{len(self.labels)}] {self.labels[event.key]}: {how}")
            return
        self._draw(event, ended)

    def _draw(self, event: Event, ended: bool) -> None:
        assert self.progress is not None
        label = self.labels[event.key]
        if ended:
            if event.key in self.bars:
                self.progress.remove_task(self.bars.pop(event.key))
            self.progress.advance(self.bars[""])
            if event.kind != "done":
                self.progress.console.print(f"{label}: {event.kind}: {event.stage}", markup=False)
            return
        if event.kind == "retried":
            self.progress.console.print(f"{label}: tried again: {event.stage}", markup=False)
            return
        if event.key not in self.bars:
            self.bars[event.key] = self.progress.add_task(label, total=None)
        if event.kind == "progress":
            self.progress.update(
                self.bars[event.key],
                description=f"{label} · {event.stage}",
                completed=event.done,
                total=event.total,
            )

    def stop(self) -> None:
        """The sweep has ended or was stopped."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def _for_people(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a plan with the settings that differ as columns, and the run most like each new cell in words."""
    settings = [name for row in rows for name in row["settings"]]
    varying = [
        name
        for name in dict.fromkeys(settings)
        if any(len({json.dumps(row["settings"].get(name)) for row in rows if row["method_id"] == method}) > 1
               for method in {row["method_id"] for row in rows})
    ]  # fmt: skip
    shown = []
    for row in rows:
        plain = {k: v for k, v in row.items() if k not in ("settings", "near", "tasks_left", "tasks")}
        if all(one["evaluation_hours"] is None for one in rows):
            del plain["evaluation_hours"]
        if all(one["evaluation_price"] is None for one in rows):
            del plain["evaluation_price"]
        if all(one["n_train_tokens"] is None for one in rows):
            del plain["n_train_tokens"]
        plain |= {name: row["settings"].get(name) for name in varying}
        if row["tasks_left"]:
            plain["state"] = f"to be scored on {', '.join(row['tasks_left'])}"
        if any(one["near"] for one in rows):
            plain["exists"] = f"{row['near']['run_id']} with {_differences(row)}" if row["near"] else None
        shown.append(plain)
    return shown


def _differences(row: Mapping[str, Any]) -> str:
    from astraios.collect.plan.axes import shown

    return ", ".join(
        f"{one['setting']} {shown(one['here'])} here, {shown(one['there'])} there" for one in row["near"]["differences"]
    )


def _what_there_is(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many cells are done, and how many exist under other settings, and which those are."""
    counts = Counter(row["state"] for row in rows)
    line = f"{len(rows)} cells: " + ", ".join(f"{counts[state]} {state}" for state in ("done", "started", "new"))
    under = Counter(_differences(row) for row in rows if row["near"])
    if not under:
        return line
    told = [f"{count} with {difference}" for difference, count in under.most_common(5)]
    more = f", and {len(under) - 5} more such differences" if len(under) > 5 else ""
    return f"{line}; {under.total()} of the new ones exist under other settings: {'; '.join(told)}{more}"


def _print_sweep(name: str, rows: Sequence[Mapping[str, Any]], totals: Any, as_json: bool) -> None:
    """A sweep before it is run."""
    if as_json:
        terminal.print_json(rows)
        return
    terminal.print_table(_for_people(rows), title=f"Sweep {name}: {len(rows)} cells")
    _print_tasks(rows)
    terminal.say(_what_there_is(rows))
    hours = "-" if totals.device_hours is None else f"{totals.device_hours:.4g}"
    price = "" if totals.price is None else f", price {totals.price:,.2f}"
    elapsed = "" if totals.elapsed_hours is None else f", {totals.elapsed_hours:.3g} hours on these devices"
    terminal.say(f"device-hours of training: {hours}{elapsed}{price} (throughput: {totals.source})")
    _say_evaluation(rows, totals)
    misfits = [row for row in rows if row["problem"]]
    for row in misfits[:10]:
        terminal.say(f"will not be started: {row['model_id']} {row['method_id']} seed {row['seed']}: {row['problem']}")
    if len(misfits) > 10:
        terminal.say(f"will not be started: {len(misfits) - 10} more")


def _print_tasks(rows: Sequence[Mapping[str, Any]]) -> None:
    """The tasks of a sweep with their gold data, and what all cells together will take."""
    if not rows or not rows[0]["tasks"]:
        return
    shown = []
    for place, task in enumerate(rows[0]["tasks"]):
        hours = [row["tasks"][place]["device_hours"] for row in rows]
        known = [one for one in hours if one is not None]
        shown.append({
            "task": task["task"], "gold": task["gold"], "problems": task["n_problems"],
            "samples_a_cell": task["n_samples"], "device_hours": sum(known) if known else None,
        })  # fmt: skip
    terminal.print_table(shown, title=f"{len(shown)} tasks")


def _say_evaluation(rows: Sequence[Mapping[str, Any]], totals: Any) -> None:
    """What evaluating takes, and how to get the gold data that are missing."""
    tasks = rows[0]["tasks"] if rows else []
    if totals.evaluation_source:
        hours = "-" if totals.evaluation_hours is None else f"{totals.evaluation_hours:.4g}"
        price = "" if totals.evaluation_price is None else f", price {totals.evaluation_price:,.2f}"
        samples = len(rows) * sum(task["n_samples"] or 0 for task in tasks)
        terminal.say(
            f"device-hours of evaluation: {hours}{price} for {samples:,} samples (speed: {totals.evaluation_source})"
        )
    for task in tasks:
        if task["gold"] in ("missing", "on the hub"):
            what = (
                "gold data missing, so it will not be scored" if task["gold"] == "missing" else "gold data on the hub"
            )
            terminal.say(f"{task['task']}: {what}: {task['where']}")


def _print_status(rows: Sequence[Mapping[str, Any]], summary: Any, as_json: bool) -> None:
    """How the runs of a sweep stand."""
    if as_json:
        terminal.print_json(rows)
        return
    terminal.print_table(rows)
    terminal.say(_status_line(summary))


def _print_forecast(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Where unfinished runs will end."""
    if as_json:
        terminal.print_json(rows)
    elif rows:
        terminal.print_table(rows, "Loss at the planned end, 90% interval")
    else:
        terminal.say("no run that has begun is unfinished")


def _status_line(summary: Any) -> str:
    """Counts, throughput and the time left, in one line."""
    parts = [f"{count} {state}" for state, count in summary.counts.items()]
    if summary.cells_per_hour is not None:
        parts.append(f"{summary.cells_per_hour:.3g} cells an hour")
    if summary.hours_left:
        parts.append(f"about {summary.hours_left:.3g} hours left")
    return ", ".join(parts)


def _watch_status(look: Callable[[], tuple[Sequence[Mapping[str, Any]], Any]], every: float) -> None:
    """What is running and what has failed, drawn anew every so often; in a log, a line at each change."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.markup import escape

    console, last = Console(stderr=True), ""
    with contextlib.suppress(KeyboardInterrupt):
        if not console.is_terminal:
            while True:
                line = _status_line(look()[1])
                if line != last:
                    terminal.say(line)
                    last = line
                time.sleep(every)
        with Live(console=console, refresh_per_second=4) as live:
            while True:
                rows, summary = look()
                shown = [r for r in rows if r["state"] in ("running", "interrupted", "failed")]
                lines = [
                    f"{r['model_id']} {r['method_id']} seed {r['seed']}: {r['state']}"
                    + (f" {r['step']} of {r['steps']}" if r["steps"] else "")
                    + (f": {r['reason']}" if r["reason"] else "")
                    for r in shown[: max(4, console.height - 3)]
                ]
                live.update(Group(_status_line(summary), *map(escape, lines)))
                time.sleep(every)


class _CellProgress:
    """Progress of one cell in a log: a line when its stage changes, and now and then within one."""

    def __init__(self, every: float = 30.0) -> None:
        self.every, self.stage, self.said = every, "", 0.0

    def tell(self, stage: str, done: int, total: int) -> None:
        """Told of progress."""
        if stage != self.stage or time.monotonic() - self.said > self.every:
            self.stage, self.said = stage, time.monotonic()
            terminal.say(f"{stage} {done}/{total}")


def _print_outcome(outcome: Any, ingested: Any, db: Any, as_json: bool, missing: Mapping[str, str]) -> None:
    """How a sweep ended."""
    n_failed = len(outcome.failed)
    if as_json:
        terminal.print_json(
            {
                "n_cells": outcome.n_cells,
                "n_done_before": outcome.n_skipped,
                "n_failed": n_failed,
                "failed": dict(outcome.failed),
                "stopped": dict(outcome.stopped),
                "not_scored": dict(missing),
                "skipped_at_ingest": dict(ingested.skipped),
                "database": str(db),
            }
        )
        return
    done = outcome.n_cells - outcome.n_skipped - n_failed - len(outcome.stopped)
    stopped = f", {len(outcome.stopped)} stopped as hopeless" if outcome.stopped else ""
    terminal.say(
        f"{outcome.n_cells} cells: {done} run now, {outcome.n_skipped} done before, {n_failed} failed{stopped}; "
        f"database {db}"
    )
    if missing:
        terminal.say(f"not scored on {', '.join(missing)}: get their gold data (above), and run the same command again")
    for key, reason in outcome.failed.items():
        terminal.say(f"failed: {key}: {reason}")
    for name, reason in ingested.skipped.items():
        terminal.say(f"not ingested: {name}: {reason}")


def _print_ingested(ingested: Any, as_json: bool) -> None:
    """What an ingest did."""
    if as_json:
        terminal.print_json(
            {
                "n_new": ingested.n_new,
                "n_known": ingested.n_known,
                "n_live": ingested.n_live,
                "skipped": dict(ingested.skipped),
            }
        )
        return
    live = f"{ingested.n_live} being logged, " if ingested.n_live else ""
    terminal.say(f"{ingested.n_new} new runs, {live}{ingested.n_known} known, {len(ingested.skipped)} skipped")
    for name, reason in ingested.skipped.items():
        terminal.say(f"skipped: {name}: {reason}")
