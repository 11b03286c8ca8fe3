"""What the fork server imports once for all cells."""

import contextlib

# Each import is an economy: what is missing here, a cell imports (and reports) for itself.
with contextlib.suppress(ImportError):
    from astraios.collect.quiet import hush

    hush()
    import peft  # noqa: F401
    import torch  # noqa: F401
    from transformers.models.gpt_bigcode import modeling_gpt_bigcode  # noqa: F401

    import astraios.collect.contract  # noqa: F401
