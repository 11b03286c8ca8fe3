"""Verbs about single runs: show one, tag, exclude and include them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, Json, app, example
from astraios.cli.complete import values

Runs = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Beginnings of run_ids, or MODEL:METHOD.", autocompletion=values("runs")),
]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", envvar="ASTRAIOS_AUTHOR", help="Who says so.")]


@app.command(epilog=example("astraios show 1a2b3c", "astraios show 1a2b3c --sweep again.toml"))
def show(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Beginning of a run_id, or MODEL:METHOD.", autocompletion=values("runs")),
    ],
    sweep: Annotated[
        Path | None, typer.Option("--sweep", metavar="FILE", help="Write a sweep of just this run, as TOML.")
    ] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Print all of a run: what was asked, what happened, on what, what came out, and the command that repeats it."""
    from astraios import store, workflow

    facts = workflow.show(store.database_path(db), run)
    if sweep:
        sweep.write_text(workflow.sweep_again(facts), encoding="utf-8")
        terminal.say(f"wrote {sweep}")
    elif as_json:
        terminal.print_json(facts)
    else:
        _print_run(facts)


@app.command(epilog=example("astraios tag 1a2b3c 4d5e6f --as baseline", "astraios tag 1a2b3c --as baseline --remove"))
def tag(
    runs: Runs,
    name: Annotated[str, typer.Option("--as", metavar="TAG", help="The tag.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take it away.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    by: By = None,
    db: Db = None,
) -> None:
    """Give runs a tag (view run_tag)."""
    from astraios import store, workflow

    action = "untag" if remove else "tag"
    done = workflow.curate(store.database_path(db), runs, action, tag=name, reason=reason, author=by)
    terminal.say(f"{len(done)} runs {'lose' if remove else 'bear'} the tag {name!r}")


@app.command(epilog=example("astraios exclude 1a2b3c --reason 'diverged after a bad restart'"))
def exclude(
    runs: Runs,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept.")],
    by: By = None,
    db: Db = None,
) -> None:
    """Leave runs out of every view and fit, without deleting them (view excluded_run)."""
    from astraios import store, workflow

    done = workflow.curate(store.database_path(db), runs, "exclude", reason=reason, author=by)
    terminal.say(f"{len(done)} runs are left out of every view and fit until `astraios include`")


@app.command(epilog=example("astraios include 1a2b3c"))
def include(
    runs: Runs,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.")] = None,
    by: By = None,
    db: Db = None,
) -> None:
    """Count runs again that were excluded."""
    from astraios import store, workflow

    done = workflow.curate(store.database_path(db), runs, "include", reason=reason, author=by)
    terminal.say(f"{len(done)} runs count again")


def _print_run(facts: Mapping[str, Any]) -> None:
    """All of a run: each part under its name, tables where there are several rows, the command last."""
    for name, value in facts.items():
        if isinstance(value, list) and value:
            rows = [{k: json.dumps(v) if isinstance(v, Mapping) else v for k, v in row.items()} for row in value]
            columns = [k for k in rows[0] if any(row[k] is not None for row in rows)]
            terminal.print_table([{k: row[k] for k in columns} for row in rows], name)
        elif isinstance(value, Mapping):
            print(f"{name}:")
            for key, one in value.items():
                if one is not None:
                    print(f"  {key}: {json.dumps(one) if isinstance(one, Mapping | list) else terminal.cell_text(one)}")
    print(f"repeat: {facts['repeat']}")
