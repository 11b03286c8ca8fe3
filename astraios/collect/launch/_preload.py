"""What the fork server imports once for all cells."""

import contextlib
import warnings

warnings.filterwarnings("ignore")

# Each import is an economy: what is missing here, a cell imports (and reports) for itself.
with contextlib.suppress(ImportError):
    import peft  # noqa: F401
    import torch  # noqa: F401
    import transformers
    from transformers.models.gpt_bigcode import modeling_gpt_bigcode  # noqa: F401

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    import astraios.collect.cell  # noqa: F401
