"""Errors that reach the user: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable


class AstraiosError(Exception):
    """A failure that the user can act on. The CLI prints its text as one line and exits with `exit_code`."""

    exit_code = 1


class UsageError(AstraiosError):
    """What was asked for makes no sense: an unknown name, a malformed sweep, a wrong option (exit code 2)."""

    exit_code = 2


class DataError(AstraiosError):
    """A file or a table does not hold what it should."""


class StoreError(AstraiosError):
    """The database or a run directory can't be read or written."""


class FitError(AstraiosError):
    """The data do not determine what was asked for."""


class CellError(AstraiosError):
    """A cell of a sweep could not be trained or evaluated."""


class MissingExtraError(AstraiosError):
    """A part of astraios that is installed on demand is not there."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}: pip install 'astraios[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error line about an unknown name: the nearest known one, and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(names) or 'none'}"


def one_line(error: BaseException, during: str = "") -> str:
    """What went wrong and what to do, for the record and for the user.

    Args:
        error: what was raised.
        during: what was being done, as a cell reports it ("training (3 of 200)", "scoring TASK").
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AstraiosError):
        return text
    if is_full(error):
        return "the disk is full; free some space and run the same command again"
    if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", text, re.IGNORECASE):
        return _out_of_memory(text, during)
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"torch.compile can't do it here: set [train] compile = false ({text[:300]})"
    return f"{type(error).__name__}: {text[:500]}"


def is_full(error: BaseException) -> bool:
    """Whether the disk has no room left, or the user's share of it, or a file may not grow."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def why(error: OSError) -> str:
    """The system's reason in words."""
    return "the disk is full" if is_full(error) else error.strerror or str(error)


def _out_of_memory(text: str, during: str) -> str:
    """What to change, by what was being done, and what torch said of how much was there."""
    task = during.removeprefix("scoring ").partition(" ")[0] if during.startswith("scoring ") else ""
    if task:
        ways = f"set [task.{task}] batch to fewer rows at a time, or a smaller [data] sequence_length"
    else:
        ways = (
            "set [train] gradient_checkpointing = true, a smaller micro_batch, a smaller [data] sequence_length, or, "
            "for a base that is not quantized, processes and fsdp"
        )
    numbers = re.search(r"Tried to allocate .*?(?= Of the allocated| If reserved|$)", text)
    facts = ", ".join(filter(None, (during and f"while {during}", numbers and numbers[0].rstrip(". "))))
    return f"out of memory: {ways}{f' ({facts})' if facts else ''}"
