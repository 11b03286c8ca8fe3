"""Memory of the C library's allocator, in a process that trains on a CPU."""

from __future__ import annotations

import ctypes
import sys

# malloc.h of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Has glibc keep what is freed, for the next tensor of that size; elsewhere nothing is done.

    It gives tensors of 32 MB and more back to the system at once, and every page of the next one is then faulted in
    anew, which takes as long as the product that fills it. Logits, and the gradient of a vocabulary's matrix, are so
    large.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _LARGEST)
