"""Why a cell failed, in one line."""

from __future__ import annotations

import errno
import re

from astraios.errors import AstraiosError


def one_line(error: BaseException) -> str:
    """What went wrong and what to do, for the record and for the user."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AstraiosError):
        return text
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; free some space and run the same command again"
    if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", text, re.IGNORECASE):
        return (
            "out of memory: set [train] gradient_checkpointing = true, a smaller micro_batch, a smaller [data] "
            "sequence_length, or [train] processes and fsdp"
        )
    return f"{type(error).__name__}: {text[:500]}"
