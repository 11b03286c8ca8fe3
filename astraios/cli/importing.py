"""The verb that takes in what other tools wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, Json, app, example
from astraios.cli.complete import values


@app.command(
    name="import",
    epilog=example(
        "astraios import paper",
        "astraios import runs.csv --map loss=eval_loss --map n_params=size",
        "astraios import out/*/lora-* wandb --facts facts.csv --dry-run",
        "astraios import results_2026-01-05.json --set run_id=3f2a91c0",
        "astraios import --undo 3",
    ),
)
def import_(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Files, folders or patterns of another tool's, or `paper`.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="Their format; else it is guessed.", autocompletion=values("formats")
        ),
    ] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", metavar="COLUMN=NAME", help="Name of one of our columns in the source.")
    ] = None,
    facts: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="A fact about every run: n_params, method_id, ..."),
    ] = None,
    facts_file: Annotated[
        Path | None,
        typer.Option("--facts", metavar="FILE", help="Facts run by run: a CSV, or a TOML of name patterns."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Take in every format that a folder holds, not the surest alone.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse everything where one item can't be read (exit code 1).")
    ] = False,
    same_as: Annotated[
        str | None,
        typer.Option(
            "--same-as",
            metavar="RUN",
            help="The stored run that the one arriving run is.",
            autocompletion=values("runs"),
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let an export replace runs that were measured here.")
    ] = False,
    undo: Annotated[
        str | None, typer.Option("--undo", metavar="LOAD", help="Take an import back, by the number that it printed.")
    ] = None,
    keep_private: Annotated[
        bool, typer.Option("--keep-private", help="Keep host names, user names and paths (tokens and keys never).")
    ] = False,
    db: Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs as they would be, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Take results of another tool into the database; importing the same twice changes nothing."""
    from astraios import store, workflow
    from astraios.errors import UsageError

    path = store.database_path(db)
    if undo is not None:
        if sources:
            raise UsageError("--undo takes an import back: name no source beside it")
        _print_undone(workflow.undo_import(path, undo), undo, as_json)
        return
    if not sources:
        raise UsageError("nothing to import: name a file or a folder, for instance `astraios import wandb`")
    request = workflow.ImportRequest(
        form, mapping or [], facts or [], keep_private, dry_run, recursive, facts_file, strict, same_as, replace
    )
    _print_imported(workflow.import_results(path, sources, request), path, dry_run, as_json)
    if not dry_run:
        terminal.say_all(workflow.hints(path))


def _print_undone(content: Mapping[str, Any], load: str, as_json: bool) -> None:
    if as_json:
        terminal.print_json({**content, "undone": load})
    else:
        terminal.say(f"took back import {load}: {content['source']} ({content['format']}), {content['runs']:,} runs")


def _print_imported(content: Mapping[str, Any], db: Any, dry_run: bool, as_json: bool) -> None:
    """What an import did, or would do."""
    if as_json:
        terminal.print_json({**content, "dry_run": dry_run})
        return
    if dry_run:
        _print_runs(content["runs"])
    terminal.say(f"format{' (guessed)' if content['guessed'] else ''}: {content['format']}, {content['title']}")
    rows = ", ".join(f"{n:,} {table}" for table, n in content["rows"].items() if n)
    terminal.say(f"{'would write' if dry_run else 'wrote'} {rows or 'nothing'}{'' if dry_run else f' to {db}'}")
    for name, reason in content["skipped"].items():
        terminal.say(f"skipped: {name}: {reason}")
    _print_some(content["notes"])
    if content["loads"]:
        terminal.say(f"undo with: astraios import --undo {content['loads'][-1]}")


_SHOWN = 20


def _print_some(notes: list[str]) -> None:
    for note in notes[:_SHOWN]:
        terminal.say(f"note: {note}")
    if len(notes) > _SHOWN:
        terminal.say(f"note: and {len(notes) - _SHOWN:,} more (--json lists them)")


def _print_runs(runs: list[Mapping[str, Any]]) -> None:
    """The runs as they would be, and where their facts are from."""
    if not runs:
        return
    rows = [
        {
            **{name: run[name] for name in ("name", "model_id", "n_params", "n_trainable", "method_id", "seed",
                                            "learning_rate", "n_tokens")},
            "last loss": ", ".join(f"{split} {loss:.4g}" for split, loss in run["losses"].items()),
            "from": "; ".join(f"{name}: {source}" for name, source in run["from"].items()),
        }
        for run in runs
    ]  # fmt: skip
    terminal.print_table(rows)
