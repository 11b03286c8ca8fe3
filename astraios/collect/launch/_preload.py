"""What the fork server imports and works out once for all cells."""

import contextlib

from astraios.train.large_pages import ask_for_large_pages

ask_for_large_pages()
# An economy: what is missing here, a cell imports (and reports) for itself.
with contextlib.suppress(ImportError):
    from astraios.models.quiet import hush

    hush()
    from astraios.collect.cell.process import get_ready

    get_ready()
