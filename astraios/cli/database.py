"""Verbs that ask the database and care for it."""

from __future__ import annotations

from typing import Annotated

import typer

from astraios.cli.app import Db, Json, app, db_app, example


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


@db_app.command(epilog=example("astraios db check"))
def check(db: Db = None, as_json: Json = False) -> None:
    """Look for rows that should not be there."""
    from astraios import console, store

    failed = store.failed_checks(store.database_path(db))
    if as_json:
        console.print_json(failed)
    else:
        console.say("sound" if not failed else "; ".join(f"{name}: {n} rows" for name, n in failed.items()))
    if failed:
        raise typer.Exit(1)
