"""Instruction data made of the running interpreter's own standard library (PSF-2.0).

A module belongs to one split by a hash of its path: half of them pretrain the tiny ladder, a third becomes
instruction pairs to tune on, the rest is the test set. A pair asks with the first paragraph of a function's docstring
and is answered by its definition without the docstring.

>>> pairs('def half(x):\\n    "Divide by two."\\n    return x / 2\\n')
[Record(prompt='Divide by two.', completion='def half(x):\\n    return x / 2', earlier=())]
"""

from __future__ import annotations

import ast
import hashlib
import platform
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from astraios.data.sources import InstructionData, Record, Source
from astraios.errors import DataError

# Tests, generated tables, vendored wheels and GUI demos are left out: they teach a small model nothing but themselves.
SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "turtledemo", "pydoc_data"}
    | {"_vendor", "_bundled", "encodings", "lib2to3"}
)
MIN_ANSWER_LINES = 2
EXTRACTION = "1"
"""To be raised whenever the same library would give other pairs."""
SHARE_BASE, SHARE_TRAIN = 0.50, 0.34


@dataclass(frozen=True)
class PythonStdlib(Source):
    """The standard library, split by module."""

    def load(self, options: Mapping[str, Any]) -> InstructionData:
        by_split: dict[str, list[Record]] = {"train": [], "test": []}
        seen: set[str] = set()
        for split in by_split:
            for _, text in modules(split):
                for pair in pairs(text):
                    # A copy of a function in another module would leak from training into the test set.
                    key = " ".join(pair.completion.split())
                    if key not in seen:
                        seen.add(key)
                        by_split[split].append(pair)
        return InstructionData(
            name=self.name,
            train=tuple(by_split["train"]),
            test=tuple(by_split["test"]),
            settings={"python": platform.python_version(), "licence": "PSF-2.0"},
        )

    def identity(self, options: Mapping[str, Any]) -> str:
        digest = hashlib.sha256(EXTRACTION.encode())
        for split in ("train", "test"):
            for path, text in modules(split):
                digest.update(f"{split} {path} {len(text)} ".encode() + text.encode())
        return digest.hexdigest()


def split_of(path: str) -> str:
    """The split of a module by its path relative to the library: base, train or test."""
    share = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big") / 2**32
    return "base" if share < SHARE_BASE else "train" if share < SHARE_BASE + SHARE_TRAIN else "test"


@cache
def modules(split: str) -> tuple[tuple[str, str], ...]:
    """(relative path, text) of the modules of a split, in order of path.

    Raises:
        DataError: this interpreter has no standard library in source form.
    """
    found = [
        (relative, path.read_text(encoding="utf-8", errors="replace"))
        for relative, path in _library()
        if split_of(relative) == split
    ]
    if not found:
        raise DataError(f"no Python source in the standard library of this interpreter ({platform.python_version()})")
    return tuple(found)


@cache
def _library() -> list[tuple[str, Path]]:
    """Relative and full path of every module, in order of path."""
    root = Path(sysconfig.get_path("stdlib"))
    found = ((path.relative_to(root), path) for path in sorted(root.rglob("*.py")))
    return [(one.as_posix(), path) for one, path in found if SKIPPED_FOLDERS.isdisjoint(one.parts[:-1])]


def pairs(text: str) -> list[Record]:
    """Instruction pairs from the documented functions of a module; [] for text that does not parse."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    lines = text.splitlines()
    return [pair for node in ast.walk(tree) for pair in _pair(node, lines)]


def _pair(node: ast.AST, lines: list[str]) -> Iterator[Record]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or len(node.body) < 2:
        return
    docstring = ast.get_docstring(node)
    if not docstring or not docstring.strip():
        return
    first, rest = node.body[0], node.body[1]
    if first.lineno <= node.lineno or rest.lineno <= (first.end_lineno or 0):
        return
    head = lines[node.lineno - 1 : first.lineno - 1]
    body = lines[first.end_lineno : node.end_lineno]
    answer = textwrap.dedent("\n".join(line for line in head + body if line.strip()))
    if len(answer.splitlines()) >= MIN_ANSWER_LINES:
        yield Record(docstring.strip().split("\n\n")[0], answer)


python_stdlib = PythonStdlib(name="python-stdlib")
