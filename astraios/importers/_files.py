"""Reading files of other tools: whole or not at all, with the place of what is wrong, and nothing but plain files."""

from __future__ import annotations

import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from astraios.errors import DataError

LARGEST = 1 << 30
"""Bytes of a file that is read into memory whole."""
_INFLATED, _RATIO = 64 << 20, 60
"""Bytes that packed data may always take once unpacked, and how many times their own size beyond that."""
_DEEPEST, _MOST = 16, 500_000
"""Levels of folders below a source, and files in it."""
_NEVER = (".git", "__pycache__", "node_modules")


def plain_file(path: Path) -> bool:
    """Whether there is a file that can be read to its end: no folder, pipe or device."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def walk(folder: Path, *patterns: str) -> list[Path]:
    """Files of a folder and of those below it whose names match a pattern, sorted.

    Links that lead out of the folder are not followed, nor links to folders; pipes and devices are left alone.

    Raises:
        DataError: there are too many files to be results.
    """
    return sorted(Path(name) for name in _files(str(folder)) if any(_matches(name, pattern) for pattern in patterns))


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.rpartition("/")[2], pattern)


def _files(folder: str) -> Iterator[str]:
    root = os.path.realpath(folder)
    waiting, count = [(folder, 0)], 0
    while waiting:
        place, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            continue
        below = []
        for entry in entries:
            count += 1
            if count > _MOST:
                raise DataError(f"{folder}: more than {_MOST:,} files: import the folders of the results one by one")
            if entry.is_dir(follow_symlinks=False):
                below.append((entry.path, depth + 1))
            elif entry.is_file() and (not entry.is_symlink() or os.path.realpath(entry.path).startswith(f"{root}/")):
                yield entry.path
        waiting += [one for one in reversed(below) if one[1] <= _DEEPEST and Path(one[0]).name not in _NEVER]


def inside(folder: Path, name: str) -> Path | None:
    """The file of this name in a folder; None where the name or a link leads out of it."""
    path = folder / name
    try:
        home, real = folder.resolve(), path.resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return path if real.is_relative_to(home) and real != home else None


def read_bytes(path: Path) -> bytes:
    """Content of a file, gunzipped where its name ends in .gz.

    Raises:
        DataError: it can't be read, is no plain file or too large, or the compressed data are not whole.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise DataError(f"{path}: not a plain file")
        if about.st_size > LARGEST:
            raise DataError(f"{path}: {about.st_size:,} bytes, more than the {LARGEST:,} that are read of one file")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read ({getattr(error, 'strerror', None) or error})") from None
    return gunzipped(content, str(path)) if path.suffix == ".gz" else content


def gunzipped(content: bytes, where: str) -> bytes:
    """Data that gzip packed.

    Raises:
        DataError: they are not whole, or take far more room than results do.
    """
    import io

    try:
        with gzip.open(io.BytesIO(content)) as stream:
            return bounded(stream.read, len(content), where)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where}: the compressed data are not whole ({error})") from None


def bounded(read: Callable[[int], bytes], packed: int, where: str) -> bytes:
    """What `read(size)` gives until its end.

    Args:
        read: reads at most so many bytes.
        packed: bytes of the data as they lie there.
        where: for messages.

    Raises:
        DataError: it is more than so many packed bytes stand for.
    """
    allowed = min(max(_INFLATED, _RATIO * packed), LARGEST)
    pieces: list[bytes] = []
    size = 0
    while piece := read(1 << 20):
        size += len(piece)
        if size > allowed:
            raise DataError(f"{where}: {packed:,} packed bytes unpack to more than {allowed:,}: these are no results")
        pieces.append(piece)
    return b"".join(pieces)


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
    except (RecursionError, ValueError):
        raise DataError(f"{where}: nested too deeply, or a number too long, to be results") from None


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
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise DataError(f"{path}: line {number}: not JSON ({reason})") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number}: an object was expected, not {kind(row)}")
        yield number, row


def flat_yaml(path: Path) -> dict[str, str]:
    """The names and plain values of a YAML file that stand one a line; what is nested is left out.

    Raises:
        DataError: a line is neither.
    """
    found = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith((" ", "- ", "#", "---", "!", "}", "]")):
            continue
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[\w./-]+", name):
            raise DataError(f"{path}: line {number}: a name and a value were expected")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1].replace("''", "'") if value[0] == "'" else value[1:-1]
        found[name] = value
    return found


def head(path: Path, size: int = 65536) -> bytes:
    """The beginning of a file without a byte-order mark, gunzipped where need be; empty where it can't be read."""
    if not plain_file(path):
        return b""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(size).removeprefix(b"\xef\xbb\xbf")
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
        try:
            return float(value)
        except OverflowError:
            pass
    raise DataError(f"{where}: {what} should be a number, not {value!r:.60}")
