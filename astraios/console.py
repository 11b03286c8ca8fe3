"""What people see: tables and JSON on stdout, progress and messages on stderr."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import polars as pl
    from rich.progress import Progress, TaskID

    from astraios.collect.launch import Event, Job


def say(message: str) -> None:
    """A message, on stderr."""
    print(message, file=sys.stderr, flush=True)


def print_json(content: Any) -> None:
    """JSON on stdout; what JSON can't say (NaN, infinity) becomes null."""
    print(json.dumps(_plain(content), indent=2, allow_nan=False))


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float) and (content != content or content in (float("inf"), float("-inf"))):
        return None
    return content


def print_table(rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Rows as a table on stdout; numbers to the right."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) if title else None, title_justify="left", header_style="bold")
    names = list(rows[0]) if rows else []
    for name in names:
        numeric = all(isinstance(row[name], int | float) or row[name] is None for row in rows)
        table.add_column(escape(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell_text(row[name])) for name in names))
    console = Console()
    if not console.is_terminal:
        # Piped output is read by programs and files: let no line break depend on a terminal's width.
        console = Console(width=max(console.width, 400))
    console.print(table)


def cell_text(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e-3 or abs(value) >= 1e6 else f"{value:,.4f}"
    return str(value)


FRAME_FORMATS = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".md": "markdown", ".txt": "table"}
"""How a frame is written, by the ending of the file."""


def frame_format(form: str | None, output: Path | None) -> str:
    """The format that was asked for, else the one that the file's ending names.

    Raises:
        UsageError: unknown; or Parquet for a terminal.
    """
    known = tuple(FRAME_FORMATS.values())
    if form is None and output is not None:
        if output.suffix not in FRAME_FORMATS:
            raise UsageError(f"{output}: {did_you_mean(output.suffix, FRAME_FORMATS)}; or give --format")
        return FRAME_FORMATS[output.suffix]
    if form is not None and form not in known:
        raise UsageError(f"--format {form!r}: {did_you_mean(form, known)}")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise UsageError("--format parquet is not for a terminal: name a file with -o")
    return form or "table"


def write_frame(frame: pl.DataFrame, form: str, output: Path | None = None) -> None:
    """A frame on stdout or into a file, as table, csv, json, parquet or markdown."""
    if form == "parquet":
        content = io.BytesIO()
        frame.write_parquet(content)
        data = content.getvalue()
    elif form == "table" and output is None:
        print_table(frame.to_dicts())
        say(f"{len(frame):,} rows")
        return
    elif form == "csv":
        data = frame.write_csv().encode()
    elif form == "json":
        data = (frame.write_json() + "\n").encode()
    else:
        data = (markdown(frame) + "\n").encode()
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    output.write_bytes(data)
    say(f"wrote {len(frame):,} rows to {output}")


def markdown(frame: pl.DataFrame) -> str:
    """A frame as a Markdown table."""
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + " --- |" * len(frame.columns)]
    for row in frame.rows():
        cells = (cell_text(value).replace("|", "\\|").replace("\n", " ") for value in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def print_plan(plan: Any, as_json: bool) -> None:
    """Runs to do next."""
    content = dataclasses.asdict(plan)
    if as_json:
        print_json(content)
        return
    rows = [
        {
            "method": run["method_id"],
            "n_params": round(run["n_params"]),
            "device-hours": run["cost"],
            "uncertainty removed": f"{run['gain']:.1%}",
        }
        for run in content["runs"]
    ]
    print_table(rows, f"Next runs for {content['target']:,.0f} parameters, within {content['budget']:g} device-hours")
    say(
        f"spends {content['spent']:.4g} device-hours; the projection's standard deviation goes from "
        f"{content['width_before']:.2%} to {content['width_after']:.2%} of the loss"
    )


def print_facts(facts: Mapping[str, Any]) -> None:
    """Names and values, a line each; nested ones indented."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            print(f"{name}:")
            for key, one in value.items():
                print(f"  {key}: {cell_text(one)}")
        else:
            print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else cell_text(value)}")


def print_run(facts: Mapping[str, Any]) -> None:
    """All of a run: each part under its name, tables where there are several rows, the command last."""
    for name, value in facts.items():
        if isinstance(value, list) and value:
            rows = [{k: json.dumps(v) if isinstance(v, Mapping) else v for k, v in row.items()} for row in value]
            columns = [k for k in rows[0] if any(row[k] is not None for row in rows)]
            print_table([{k: row[k] for k in columns} for row in rows], name)
        elif isinstance(value, Mapping):
            print(f"{name}:")
            for key, one in value.items():
                if one is not None:
                    print(f"  {key}: {json.dumps(one) if isinstance(one, Mapping | list) else cell_text(one)}")
    print(f"repeat: {facts['repeat']}")


@contextmanager
def counted(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for things counted; silent in a log and where JSON is printed."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


class SweepProgress:
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
            say(f"{len(jobs)} jobs: {n_cells} cells and the base models they need")
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
                say(f"{self.labels[event.key]}: tried again: {event.stage}")
            if ended:
                took = time.monotonic() - self.started.get(event.key, time.monotonic())
                how = f"done in {took:.0f} s" if event.kind == "done" else f"{event.kind}: {event.stage}"
                say(f"[{self.n_done}/{len(self.labels)}] {self.labels[event.key]}: {how}")
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


def print_sweep(name: str, rows: Sequence[Mapping[str, Any]], totals: Any, as_json: bool) -> None:
    """A sweep before it is run."""
    if as_json:
        print_json(rows)
        return
    print_table(rows, title=f"Sweep {name}: {len(rows)} cells")
    hours = "-" if totals.device_hours is None else f"{totals.device_hours:.4g}"
    price = "" if totals.price is None else f", price {totals.price:,.2f}"
    say(f"device-hours of training: {hours}{price} (throughput: {totals.source})")
    misfits = [row for row in rows if row["problem"]]
    for row in misfits[:10]:
        say(f"will not be started: {row['model_id']} {row['method_id']} seed {row['seed']}: {row['problem']}")
    if len(misfits) > 10:
        say(f"will not be started: {len(misfits) - 10} more")


def print_status(rows: Sequence[Mapping[str, Any]], summary: Any, as_json: bool) -> None:
    """How the runs of a sweep stand."""
    if as_json:
        print_json(rows)
        return
    print_table(rows)
    say(status_line(summary))


def status_line(summary: Any) -> str:
    """Counts, throughput and the time left, in one line."""
    parts = [f"{count} {state}" for state, count in summary.counts.items()]
    if summary.cells_per_hour is not None:
        parts.append(f"{summary.cells_per_hour:.3g} cells an hour")
    if summary.hours_left:
        parts.append(f"about {summary.hours_left:.3g} hours left")
    return ", ".join(parts)


def watch_status(look: Callable[[], tuple[Sequence[Mapping[str, Any]], Any]], every: float) -> None:
    """What is running and what has failed, drawn anew every so often; in a log, a line at each change."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.markup import escape

    console, last = Console(stderr=True), ""
    with contextlib.suppress(KeyboardInterrupt):
        if not console.is_terminal:
            while True:
                line = status_line(look()[1])
                if line != last:
                    say(line)
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
                live.update(Group(status_line(summary), *map(escape, lines)))
                time.sleep(every)


class CellProgress:
    """Progress of one cell in a log: a line when its stage changes, and now and then within one."""

    def __init__(self, every: float = 30.0) -> None:
        self.every, self.stage, self.said = every, "", 0.0

    def tell(self, stage: str, done: int, total: int) -> None:
        """Told of progress."""
        if stage != self.stage or time.monotonic() - self.said > self.every:
            self.stage, self.said = stage, time.monotonic()
            say(f"{stage} {done}/{total}")


def sweep_summary(outcome: Any, ingested: Any, db: Any, as_json: bool) -> None:
    """How a sweep ended."""
    n_failed = len(outcome.failed)
    if as_json:
        print_json(
            {
                "n_cells": outcome.n_cells,
                "n_done_before": outcome.n_skipped,
                "n_failed": n_failed,
                "failed": dict(outcome.failed),
                "stopped": dict(outcome.stopped),
                "skipped_at_ingest": dict(ingested.skipped),
                "database": str(db),
            }
        )
        return
    done = outcome.n_cells - outcome.n_skipped - n_failed - len(outcome.stopped)
    stopped = f", {len(outcome.stopped)} stopped as hopeless" if outcome.stopped else ""
    say(
        f"{outcome.n_cells} cells: {done} run now, {outcome.n_skipped} done before, {n_failed} failed{stopped}; "
        f"database {db}"
    )
    for key, reason in outcome.failed.items():
        say(f"failed: {key}: {reason}")
    for name, reason in ingested.skipped.items():
        say(f"not ingested: {name}: {reason}")


def ingest_summary(ingested: Any, as_json: bool) -> None:
    """What an ingest did."""
    if as_json:
        print_json({"n_new": ingested.n_new, "n_known": ingested.n_known, "skipped": dict(ingested.skipped)})
        return
    say(f"{ingested.n_new} new runs, {ingested.n_known} known, {len(ingested.skipped)} skipped")
    for name, reason in ingested.skipped.items():
        say(f"skipped: {name}: {reason}")


def rebuild_summary(report: Any, as_json: bool) -> None:
    """What a rebuild did."""
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    say(f"{report.n_runs} runs from run directories, {report.n_carried} carried over from the old database")
    if report.carried:
        say("carried over: " + ", ".join(f"{n:,} {table}" for table, n in report.carried.items()))
    if report.lost:
        say(f"lost: imports, fits and curation that only the old database held; it can't be read ({report.lost})")
    for name, why in report.skipped.items():
        say(f"skipped: {name}: {why}")
    if report.kept:
        say(f"the old database is kept as {report.kept}")


def import_summary(content: Mapping[str, Any], db: Any, dry_run: bool, as_json: bool) -> None:
    """What an import did, or would do."""
    if as_json:
        print_json({**content, "dry_run": dry_run})
        return
    say(f"format{' (guessed)' if content['guessed'] else ''}: {content['format']}, {content['title']}")
    rows = ", ".join(f"{n:,} {table}" for table, n in content["rows"].items() if n)
    say(f"{'would write' if dry_run else 'wrote'} {rows or 'nothing'}{'' if dry_run else f' to {db}'}")
    for name, reason in content["skipped"].items():
        say(f"skipped: {name}: {reason}")


def print_analysis(content: Mapping[str, Any]) -> None:
    """An analysis as `astraios fit-scaling --json` has it, for people."""
    projections = [{"group": fit["group"], **p} for fit in content["fits"] for p in fit["projections"]]
    for role, quantity, title in (
        ("backtest", "loss", "Backtest: the hidden size, predicted from the smaller ones (loss, nats)"),
        ("target", "loss", "Projected final loss (nats)"),
        ("backtest", "score", "Backtest of scores"),
        ("target", "score", "Projected scores"),
    ):
        rows = [_projection_row(p) for p in projections if p["role"] == role and p["quantity"] == quantity]
        if rows:
            print_table(rows, title)
    if content["ranking"]:
        print_table([_ranking_row(row) for row in content["ranking"]], "Ranking at the target")
    for key, value in (content.get("summary") or {}).items():
        say(f"{key.replace('_', ' ')}: {cell_text(value)}")
    for warning in _warnings(content):
        say(f"warning: {warning}")


def _projection_row(p: Mapping[str, Any]) -> dict[str, Any]:
    row = {"method": p["group"], "n_params": int(p["n_params"])}
    if p["quantity"] == "score":
        row |= {"task": p["task_id"], "metric": p["metric"]}
    row |= {
        "mean": p["mean"],
        "low": p["low"],
        "high": p["high"],
        "new run": f"{p['new_low']:.4f} to {p['new_high']:.4f}",
    }
    if p["role"] == "backtest":
        error = p["relative_error"]
        row |= {"observed": p["observed"], "error": f"{error:.2%}" if error is not None else None}
        carried = p.get("carry_forward_error")
        row["carry-forward error"] = f"{carried:.2%}" if carried is not None else None
    return row


def _ranking_row(row: Mapping[str, Any]) -> dict[str, Any]:
    others = row["not_separable_from"]
    return {
        "method": row["method_id"],
        "n_params": int(row["n_params"]),
        "mean": row["mean"],
        "low": row["low"],
        "high": row["high"],
        "best with probability": row["p_best"],
        "not separable from": ", ".join(others) or "-",
    }


def _warnings(content: Mapping[str, Any]) -> list[str]:
    found = [*content.get("warnings", ()), *(w for fit in content["fits"] for w in fit["warnings"])]
    lines = [f"{warning['code']}: {warning['message']}" for warning in found]
    return list(dict.fromkeys(lines))
