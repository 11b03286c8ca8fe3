"""Verbs that ask the database and care for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, Json, Runs, app, db_app, example
from astraios.cli.complete import values


@app.command(
    epilog=example(
        "astraios sql \"select method_id, n_params, loss_nats from final_loss where split = 'test'\"",
        "astraios sql --query best-method-by-size",
        "astraios sql 'from loss_curve' -o curves.parquet",
        "astraios sql            (a prompt)",
    )
)
def sql(
    query: Annotated[
        str | None, typer.Argument(help="A query; without one, a prompt.", autocompletion=values("sql"))
    ] = None,
    db: Db = None,
    form: Annotated[
        str | None, typer.Option("--format", help="table, csv, json, parquet or markdown; else by the file's ending.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.")] = None,
    named: Annotated[
        str | None,
        typer.Option("--query", metavar="NAME", help="A query by its name.", autocompletion=values("queries")),
    ] = None,
    queries: Annotated[bool, typer.Option("--queries", help="List the named queries.")] = False,
    allow_write: Annotated[
        bool, typer.Option("--allow-write", help="Let the query change the database; it uses no other file.")
    ] = False,
) -> None:
    """Ask the database in SQL, read-only unless asked otherwise."""
    import sys

    from astraios import store
    from astraios.errors import UsageError

    if queries:
        terminal.print_table([{"query": name, "answers": text} for name, text in store.named_queries().items()])
        return
    form = terminal.frame_format(form, output)
    if query and named:
        raise UsageError("give a query or --query NAME, not both")
    path, text = store.database_path(db), store.named_query(named) if named else query
    if text is None and sys.stdin.isatty():
        from astraios.cli.prompt import converse

        converse(path)
        return
    text = sys.stdin.read() if text is None else text
    frame = store.change(path, text) if allow_write else store.query(path, text)
    terminal.write_frame(frame, form, output)


@app.command(
    epilog=example(
        "astraios export backup",
        "astraios export tables --format csv",
        "astraios import tables",
        "astraios export shared --format every-eval-ever",
    )
)
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder, or an earlier export.")],
    form: Annotated[
        str, typer.Option("--format", help="parquet, csv or json; every-eval-ever for the scores alone.")
    ] = "parquet",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Write every table to a file of its own; `astraios import DIR` takes them back row for row.

    With --format every-eval-ever, write the scores of each run as that schema has them, a file a run.
    """
    from astraios import store, workflow

    rows = workflow.export(store.database_path(db), folder, form)
    if as_json:
        terminal.print_json(rows)
    else:
        terminal.say(f"wrote {sum(rows.values()):,} rows of {len(rows)} tables to {folder}")


@db_app.command(epilog=example("astraios db check", "astraios db check --out runs"))
def check(
    db: Db = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Compare with these run directories too, file by file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for rows that should not be there, damage, and run directories that say something else."""
    from astraios import store

    path = store.database_path(db)
    failed, wrong = store.failed_checks(path), store.check_directories(path, out) if out else {}
    if as_json:
        terminal.print_json({**failed, **({"directories": wrong} if out else {})})
    else:
        terminal.say("; ".join(f"{name}: {n} rows" for name, n in failed.items()) or ("" if wrong else "sound"))
        for name, why in wrong.items():
            terminal.say(f"{name}: {why}")
        if others := store.own_objects(path):
            terminal.say(f"not astraios's, left alone: {', '.join(map(repr, others))}")
    if failed or wrong:
        raise typer.Exit(1)


@db_app.command(epilog=example("astraios db rebuild --out runs"))
def rebuild(out: Runs = "runs", db: Db = None, as_json: Json = False) -> None:
    """Make the database anew from the run directories; what only the old one holds is carried over."""
    from astraios import store

    _print_rebuilt(store.rebuild(store.database_path(db), out), as_json)


def _print_rebuilt(report: Any, as_json: bool) -> None:
    """What a rebuild did."""
    if as_json:
        terminal.print_json(dataclasses.asdict(report))
        return
    terminal.say(f"{report.n_runs} runs from run directories, {report.n_carried} carried over from the old database")
    if report.carried:
        terminal.say("carried over: " + ", ".join(f"{n:,} {table}" for table, n in report.carried.items()))
    if report.lost:
        terminal.say(
            f"lost: imports, fits and curation that only the old database held; it can't be read ({report.lost})"
        )
    for name, why in report.skipped.items():
        terminal.say(f"skipped: {name}: {why}")
    if report.kept:
        terminal.say(f"the old database is kept as {report.kept}")
