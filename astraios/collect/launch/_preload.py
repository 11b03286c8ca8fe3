"""What the fork server imports once for all cells."""

import contextlib

from astraios.train.large_pages import ask_for_large_pages

ask_for_large_pages()
# Each import is an economy: what is missing here, a cell imports (and reports) for itself.
with contextlib.suppress(ImportError):
    from astraios.models.quiet import hush

    hush()
    import peft  # noqa: F401
    import torch  # noqa: F401
    from transformers.models.gpt_bigcode import modeling_gpt_bigcode  # noqa: F401

    import astraios.collect.cell.process  # noqa: F401
