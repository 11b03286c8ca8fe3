"""Keeps the chatter of other libraries off the user's terminal; what a cell has to say, it says itself."""

from __future__ import annotations

import logging
import warnings


def hush() -> None:
    """To be called before transformers, peft or bitsandbytes are imported or used."""
    # bitsandbytes speaks of kernels that it would fetch from a hub, transformers and peft of each other's old names.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for name in ("bitsandbytes.backends.cpu.ops", "bitsandbytes.autograd._functions", "bitsandbytes.cextension"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
