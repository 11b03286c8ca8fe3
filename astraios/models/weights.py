"""What tells the weights in a folder from others: a hash of its files, read once while they stay as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from astraios.files import cache_dir, write_atomically

DECIDE = (".safetensors", ".bin", ".json", ".txt", ".model", ".jinja", ".py")
"""Files on which numbers depend: weights, architecture, tokenizer, code."""


def files_of(folder: Path) -> list[Path]:
    """The files of a base model on which numbers depend, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in DECIDE and path.is_file())


def weights_hash(folder: Path) -> str:
    """Hash over the files of a base model, 24 hexadecimal digits; the same wherever the folder lies.

    Each file is read once: its hash is kept in the cache by path, size and time of its last change.

    Raises:
        OSError: a file can't be read.
    """
    place = os.path.abspath(folder)
    file = cache_dir() / "weights" / f"{hashlib.sha256(place.encode()).hexdigest()[:24]}.json"
    known: dict[str, list[object]] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
    found: dict[str, list[object]] = {}
    for path in files_of(folder):
        facts = path.stat()
        state = [facts.st_size, facts.st_mtime_ns]
        held = known.get(path.name, [])
        found[path.name] = held if held[:2] == state else [*state, _sha256(path)]
    if found != known:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps(found).encode(), durable=False)
    content = json.dumps([[name, facts[2]] for name, facts in sorted(found.items())])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def changed_at(folder: Path) -> float:
    """When the newest of its files was last changed, seconds since 1970."""
    return max((path.stat().st_mtime for path in files_of(folder)), default=0.0)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
