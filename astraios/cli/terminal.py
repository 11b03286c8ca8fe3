"""What people see: tables and JSON on stdout, progress and messages on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import UsageError, did_you_mean
from astraios.files import write_atomically

if TYPE_CHECKING:
    import polars as pl


def visible(text: str) -> str:
    """A text with what a terminal would act on written out: escapes, control characters, changes of direction."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    number = ord(one)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def say(message: str) -> None:
    """A message, on stderr."""
    print(visible(message), file=sys.stderr, flush=True)


def say_all(messages: Sequence[str]) -> None:
    """Messages, a line each."""
    for message in messages:
        say(message)


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

    table = Table(title=escape(visible(title)) if title else None, title_justify="left", header_style="bold")
    names = list(rows[0]) if rows else []
    for name in names:
        numeric = all(isinstance(row[name], int | float) or row[name] is None for row in rows)
        table.add_column(escape(visible(name)), justify="right" if numeric else "left", overflow="fold")
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
    return visible(str(value))


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
        if form != "parquet" and sys.stdout.isatty():
            data = visible(data.decode()).encode()
        sys.stdout.buffer.write(data)
        return
    write_atomically(output, data)
    say(f"wrote {len(frame):,} rows to {output}")


def markdown(frame: pl.DataFrame) -> str:
    """A frame as a Markdown table."""
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + " --- |" * len(frame.columns)]
    for row in frame.rows():
        cells = (cell_text(value).replace("|", "\\|").replace("\n", " ") for value in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Names and values, a line each; nested ones indented."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            print(f"{name}:")
            for key, one in value.items():
                print(f"  {key}: {cell_text(one)}")
        else:
            print(f"{name}: {', '.join(map(cell_text, value)) if isinstance(value, list) else cell_text(value)}")


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
