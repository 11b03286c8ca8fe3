"""What a data set tells of itself: its name, and a fingerprint of its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SAMPLED = 256
"""Rows, evenly spaced, that a fingerprint is taken of."""


def dataset_id(dataset: Any) -> str | None:
    """Name, @ and fingerprint of a data set of `datasets` or torch; without fingerprint where its rows can't be had.

    The fingerprint is over the number of rows and `SAMPLED` of them. It is that of the rows as they are trained on:
    tokenized by another tokenizer, the same text is another data set. `datasets` has a fingerprint of its own, which
    changes with the code that prepared the rows, and from process to process where that code can't be hashed.
    """
    if dataset is None:
        return None
    info = getattr(dataset, "info", None)
    name = getattr(info, "dataset_name", None) or getattr(info, "builder_name", None) or type(dataset).__name__.lower()
    mark = fingerprint(dataset)
    return f"{name}@{mark}" if mark else str(name)


def fingerprint(dataset: Any) -> str | None:
    """Twelve letters that stand for the rows; None for a stream, or rows that are no plain values."""
    try:
        n = len(dataset)
        digest = hashlib.sha256(str(n).encode())
        for i in sorted({round(i * (n - 1) / max(1, SAMPLED - 1)) for i in range(SAMPLED)} if n else ()):
            digest.update(json.dumps(dataset[i], sort_keys=True, default=_listed).encode())
    except (TypeError, ValueError, NotImplementedError, KeyError, IndexError):
        return None
    return digest.hexdigest()[:12]


def _listed(value: Any) -> Any:
    """A tensor or array as lists, bytes as their hash."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no fingerprint")
