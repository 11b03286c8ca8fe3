"""Writes docs/reference/ from the program itself: `python docs/generate_reference.py`.

sql.md holds every table, view, column, macro and named query of a new database; cli.md the help of every command.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from astraios import store
from astraios.cli import app

REFERENCE = Path(__file__).resolve().parent / "reference"
MADE = "<!-- Made by docs/generate_reference.py; a test says when it is out of date. -->\n"


def sql_reference() -> str:
    """Everything that a query can name, as Markdown."""
    catalogue = store.catalogue_of_new()
    lines = ["# SQL reference", "", MADE]
    lines += ["What a database holds. How to ask it: [database.md](../database.md).", ""]
    for kind, title in (("view", "Views"), ("table", "Tables")):
        lines += [f"## {title}", ""]
        for name, _, comment in catalogue.relations.filter(catalogue.relations["kind"] == kind).iter_rows():
            lines += [f"### {name}", "", _cell(comment), "", "| column | type | what |", "| --- | --- | --- |"]
            mine = catalogue.columns.filter(catalogue.columns["relation"] == name)
            for _, column, type_, said in mine.iter_rows():
                lines.append(f"| {column} | {type_.lower()} | {_cell(said)} |")
            lines.append("")
    lines += ["## Macros", "", "| macro | gives | what |", "| --- | --- | --- |"]
    for row in catalogue.macros.iter_rows(named=True):
        lines.append(f"| `{row['name']}({row['parameters']})` | {row['kind']} | {_cell(row['comment'])} |")
    lines += ["", "## Named queries", "", "`astraios sql --query NAME`", "", "| query | what |", "| --- | --- |"]
    lines += [f"| {name} | {_cell(said)} |" for name, said in store.named_queries().items()]
    return "\n".join([*lines, ""])


def cli_reference() -> str:
    """The help of every command, as Markdown."""
    import typer

    root = typer.main.get_command(app)
    lines = ["# Command line reference", "", MADE]
    for words, command in _commands(root, "astraios"):
        lines += [f"## {words}", "", _cell(command.help), ""]
        context = command.make_context(words, [], resilient_parsing=True)
        lines += ["```", f"{words} {' '.join(command.collect_usage_pieces(context))}", "```", ""]
        records = [
            p.get_help_record(context) or (p.make_metavar(context), getattr(p, "help", "")) for p in command.params
        ]
        lines += ["| option | what |", "| --- | --- |"]
        lines += [f"| `{name.replace('|', '/')}` | {_cell(said)} |" for name, said in records]
        examples = [line.strip() for line in (command.epilog or "").splitlines() if line.strip().startswith("astraios")]
        lines += ["", "```", *examples, "```", ""]
    return "\n".join(lines)


def _commands(group: Any, words: str) -> list[tuple[str, Any]]:
    found = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += _commands(command, f"{words} {name}")
        else:
            found.append((f"{words} {name}", command))
    return found


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def main() -> None:
    """Writes both files."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in (("sql.md", sql_reference()), ("cli.md", cli_reference())):
        (REFERENCE / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{REFERENCE / name}\n")


if __name__ == "__main__":
    main()
