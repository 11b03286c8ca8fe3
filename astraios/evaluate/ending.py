"""How an answer ends: at the first of the texts that stop it, or where the model ended it."""

from __future__ import annotations

from collections.abc import Sequence

END = "<|endoftext|>"
"""How an answer ends that the model ended by itself, whatever its tokenizer calls the token."""


def cut(text: str, stops: Sequence[str]) -> str:
    """`text` up to the first of `stops`."""
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def through_stop(text: str, stops: Sequence[str]) -> str:
    """`text` through the first of `stops` and END (of two that begin together the longer): how it ended can be told.

    >>> through_stop("a\\nb", ["\\n"]), cut("a\\nb", ["\\n"])
    ('a\\n', 'a')
    """
    ends = [(place, -len(stop)) for stop in (*stops, END) if (place := text.find(stop)) >= 0]
    return text[: min(ends)[0] - min(ends)[1]] if ends else text
