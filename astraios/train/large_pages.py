"""Large pages for large tensors, in a process that works on a CPU."""

from __future__ import annotations

import os


def ask_for_large_pages() -> None:
    """Has torch ask Linux for pages of 2 MB under tensors of that size; to be called before torch is imported.

    The C library gives tensors of 32 MB and more back to the system when they are freed, and the next one's pages are
    faulted in anew: logits and the gradient of a vocabulary's matrix are so large. A system that has no large pages
    to give changes nothing.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
