"""What the fork server imports and works out once for all cells."""

import contextlib

from astraios.train.large_pages import ask_for_large_pages

ask_for_large_pages()
# Each is an economy: what fails here, a cell does (and reports) for itself.
with contextlib.suppress(Exception):
    from astraios.models.quiet import hush

    hush()
    import torch  # noqa: F401
    from peft.tuners.lora import bnb  # noqa: F401
    from transformers.models.gpt_bigcode import modeling_gpt_bigcode  # noqa: F401

    import astraios.collect.cell.process  # noqa: F401
with contextlib.suppress(Exception):
    from astraios.evaluate.tasks import TASKS
    from astraios.models.ladders import LADDERS
    from astraios.models.methods import METHODS

    for registry in (LADDERS, METHODS, TASKS):
        registry.names()
with contextlib.suppress(Exception):
    from astraios.records import TABLES
    from astraios.runs.parquet import parquet_bytes

    # Arrow imports pandas, where that is installed, with the first column that it makes.
    parquet_bytes(TABLES["loss_point"], (), 1)
with contextlib.suppress(Exception):
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    # A thousand regular expressions, which transformers compiles for the first model that it loads.
    get_checkpoint_conversion_mapping("gpt_bigcode")
