"""Reading files of other tools: whole or not at all, with the place of what is wrong."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from astraios.errors import DataError


def read_bytes(path: Path) -> bytes:
    """Content of a file, gunzipped where its name ends in .gz.

    Raises:
        DataError: it can't be read, or the compressed data are not whole.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the compressed data are not whole ({error})") from None


def read_text(path: Path) -> str:
    """Content of a file as text.

    Raises:
        DataError: it can't be read or is not UTF-8.
    """
    content = read_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line}, byte {error.start}: not UTF-8 text") from None


def parse_json(text: str, where: str) -> Any:
    """JSON (NaN and infinities allowed, as Python writes them).

    Raises:
        DataError: it is not whole; `where` begins the line.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: line {error.lineno}, column {error.colno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise DataError(f"{where}: nested too deeply to be results") from None


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        DataError: it is not whole.
    """
    return parse_json(read_text(path), str(path))


def read_object(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object.

    Raises:
        DataError: it is not whole, or something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: line 1: an object was expected, not {kind(content)}")
    return content


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSON-lines file, with the numbers of their lines, from 1.

    Raises:
        DataError: a line is not a whole object.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise DataError(f"{path}: line {number}: not JSON ({reason})") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number}: an object was expected, not {kind(row)}")
        yield number, row


def head(path: Path, size: int = 65536) -> bytes:
    """The beginning of a file, gunzipped where need be; empty where it can't be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(size)
    except (OSError, EOFError, zlib.error):
        return b""


def kind(value: Any) -> str:
    """What JSON calls a value."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def number(value: Any, where: str, what: str) -> float:
    """A number as JSON has it, or as text ("NaN", "Infinity", "1e-3").

    Raises:
        DataError: it is none.
    """
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise DataError(f"{where}: {what} should be a number, not {value!r:.60}")
