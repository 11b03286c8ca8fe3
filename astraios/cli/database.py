"""Verbs that ask the database and care for it."""

from __future__ import annotations

from typing import Annotated

import typer

from astraios.cli.app import Db, Json, Runs, app, db_app, example


@app.command(
    epilog=example(
        "astraios sql \"select method_id, n_params, loss_nats from final_loss where split = 'test'\"",
        "astraios sql --format csv 'from method_size_grid'",
    )
)
def sql(
    query: Annotated[str, typer.Argument(help="A query.")],
    db: Db = None,
    form: Annotated[str, typer.Option("--format", help="table, csv, json, parquet or markdown.")] = "table",
) -> None:
    """Ask the database in SQL, read-only."""
    from astraios import console, store
    from astraios.errors import UsageError, did_you_mean

    known = ("table", "csv", "json", "parquet", "markdown")
    if form not in known:
        raise UsageError(f"--format {form!r}: {did_you_mean(form, known)}")
    console.write_frame(store.query(store.database_path(db), query), form)


@db_app.command(epilog=example("astraios db check", "astraios db check --out runs"))
def check(
    db: Db = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Compare with these run directories too, file by file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for rows that should not be there, damage, and run directories that say something else."""
    from astraios import console, store

    path = store.database_path(db)
    failed, wrong = store.failed_checks(path), store.check_directories(path, out) if out else {}
    if as_json:
        console.print_json({**failed, **({"directories": wrong} if out else {})})
    else:
        console.say("; ".join(f"{name}: {n} rows" for name, n in failed.items()) or ("" if wrong else "sound"))
        for name, why in wrong.items():
            console.say(f"{name}: {why}")
    if failed or wrong:
        raise typer.Exit(1)


@db_app.command(epilog=example("astraios db rebuild --out runs"))
def rebuild(out: Runs = "runs", db: Db = None, as_json: Json = False) -> None:
    """Make the database anew from the run directories; what only the old one holds is carried over."""
    from astraios import console, store

    console.rebuild_summary(store.rebuild(store.database_path(db), out), as_json)
