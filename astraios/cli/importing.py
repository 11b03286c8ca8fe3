"""The verb that takes in what other tools wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, Json, app, example


@app.command(
    name="import",
    epilog=example(
        "astraios import paper",
        "astraios import runs.csv --map loss=eval_loss --map n_params=size",
        "astraios import wandb/offline-run-20260105_120000-abc --set n_params=1.1B --set method_id=lora",
        "astraios import results_2026-01-05.json --set run_id=3f2a91c0 --dry-run",
    ),
)
def import_(
    source: Annotated[str, typer.Argument(help="A file or folder of another tool, or `paper`.")],
    form: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Its format; else it is guessed.")
    ] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", metavar="COLUMN=NAME", help="Name of one of our columns in the source.")
    ] = None,
    facts: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="A fact about every run of the source: n_params, ..."),
    ] = None,
    keep_private: Annotated[
        bool, typer.Option("--keep-private", help="Keep host names, user names and paths (tokens and keys never).")
    ] = False,
    db: Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Take results of another tool into the database; importing the same twice changes nothing."""
    from astraios import store, workflow

    path = store.database_path(db)
    request = workflow.ImportRequest(form, mapping or [], facts or [], keep_private, dry_run)
    _print_imported(workflow.import_results(path, source, request), path, dry_run, as_json)
    if not dry_run:
        terminal.say_all(workflow.hints(path))


def _print_imported(content: Mapping[str, Any], db: Any, dry_run: bool, as_json: bool) -> None:
    """What an import did, or would do."""
    if as_json:
        terminal.print_json({**content, "dry_run": dry_run})
        return
    terminal.say(f"format{' (guessed)' if content['guessed'] else ''}: {content['format']}, {content['title']}")
    rows = ", ".join(f"{n:,} {table}" for table, n in content["rows"].items() if n)
    terminal.say(f"{'would write' if dry_run else 'wrote'} {rows or 'nothing'}{'' if dry_run else f' to {db}'}")
    for name, reason in content["skipped"].items():
        terminal.say(f"skipped: {name}: {reason}")
