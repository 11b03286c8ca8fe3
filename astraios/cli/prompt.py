"""The prompt of `astraios sql`: history, and completion of tables, columns, macros and named queries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from astraios import store
from astraios.cli import terminal
from astraios.errors import AstraiosError, MissingExtraError

HELP = "SQL ends with ;   \\d lists tables and views, \\d NAME its columns   \\q NAME runs a named query   Ctrl-D ends"


def converse(path: Path) -> None:
    """Asks and answers until Ctrl-D; a query ends with a semicolon, Ctrl-C forgets the line.

    Raises:
        StoreError: no such database.
        MissingExtraError: prompt_toolkit is not installed.
    """
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.history import FileHistory
    except ImportError:
        raise MissingExtraError("prompt_toolkit", "prompt", "a prompt for SQL") from None
    catalogue = store.catalogue(path)
    session: Any = PromptSession(
        history=FileHistory(str(history_file())),
        completer=completer(catalogue),
        complete_while_typing=False,
        multiline=Condition(lambda: not _is_whole(session.default_buffer.text)),
        prompt_continuation="   ",
    )
    terminal.say(HELP)
    while True:
        try:
            text = session.prompt("sql> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if not text:
            continue
        try:
            answer(path, text)
        except AstraiosError as error:
            terminal.say(str(error))


def answer(path: Path, text: str) -> None:
    """Runs what was typed, on the database as it is now.

    Raises:
        AstraiosError: it is refused; one line.
    """
    word, _, name = text.rstrip(";").partition(" ")
    if word == "\\d":
        catalogue = store.catalogue(path)
        columns = catalogue.columns.filter(catalogue.columns["relation"] == name).drop("relation")
        terminal.print_table((columns if name else catalogue.relations).to_dicts())
    elif word == "\\q" and not name:
        terminal.print_table([{"query": key, "answers": words} for key, words in store.named_queries().items()])
    else:
        terminal.write_frame(store.query(path, store.named_query(name) if word == "\\q" else text), "table")


def completer(catalogue: store.Catalogue) -> Any:
    """Completes any name of the database, with what it is beside it."""
    from prompt_toolkit.completion import WordCompleter

    about = {name: comment or kind for name, kind, comment in catalogue.relations.iter_rows()}
    for relation, name, kind, _ in catalogue.columns.iter_rows():
        about.setdefault(name, f"{kind.lower()} of {relation}")
    about |= {row["name"]: f"({row['parameters']})" for row in catalogue.macros.iter_rows(named=True)}
    about |= store.named_queries()
    return WordCompleter(sorted(about), meta_dict=about, ignore_case=True)


def history_file() -> Path:
    """Where the prompt remembers: the state folder of this user."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder = state / "astraios"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "sql_history"


def _is_whole(text: str) -> bool:
    return text.rstrip().endswith(";") or text.lstrip().startswith("\\") or not text.strip()
