"""The Typer app, and what its verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astraios.cli.complete import values

app = typer.Typer(
    name="astraios",
    help="Scaling analysis for tuned language models: collect small runs, project the large one, know how sure.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts three times as fast
)
db_app = typer.Typer(help="Care for the database.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(db_app, name="db")

Db = Annotated[
    Path | None,
    typer.Option("--db", metavar="FILE", help="Database; else $ASTRAIOS_DB, else astraios.duckdb here."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the run directories.")]
Runs = Annotated[
    str, typer.Option("--out", metavar="DIR", help="Folder of the run directories, or its URL (s3://...).")
]
Study = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="NAME",
        help="A study, or the beginning of its name; several with commas are joined.",
        autocompletion=values("studies"),
    ),
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="CONDITION",
        help="End with exit code 1 where it holds, as 'p_best < 0.9'; may be repeated. A wrong name lists all.",
    ),
]
Law = Annotated[str, typer.Option(help="A scaling law, or auto.", autocompletion=values("laws"))]
DecayedEnds = Annotated[
    bool,
    typer.Option(
        "--decayed-ends", help="Points are the ends of decays of the learning rate, of which a run may have several."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def example(*lines: str) -> str:
    return "Examples:\n\n\b\n" + "\n".join(f"  {line}" for line in lines)


def _version(wanted: bool) -> None:
    if wanted:
        from astraios import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
