"""Sweeps as files: a first one to start from, and the schema by which editors complete and check them."""

from __future__ import annotations

import json
from pathlib import Path

from astraios.errors import StoreError, UsageError

SCHEMA = "astraios-sweep.schema.json"
_FIRST = """\
#:schema ./{schema}
# Run it: astraios collect {file} --dry-run shows the plan; without --dry-run it trains. Every field: docs/training.md.
name = "{name}"
description = "What this sweep is to find out"

# A ladder by its name, or base models: hub ids, folders, or rungs of a ladder ("tiny/116k", "1B").
models = "tiny"
methods = ["fft", "lora"]
seeds = [0]
# Scored when a model is trained; astraios report draws them.
tasks = ["next-token"]

[data]
# Your own pairs: source = "table", path = "pairs.jsonl" (columns prompt and completion); or source = "hub", id = "...".
source = "python-stdlib"
prompt_format = "Question: {{prompt}}\\n\\nAnswer:\\n{{completion}}"
sequence_length = 256
test_blocks = 48
train_eval_blocks = 16

[train]
steps = 200
batch_size = 2
micro_batch = 2
eval_every = 50
dtype = "float32"
quantization = "none"

# A list makes a cell of each value; here is what only one method takes.
[method.fft]
learning_rate = 3e-3

[method.lora]
rank = 8
learning_rate = [3e-3, 1e-2]

# Time and money of the plan: [compute] price_per_device_hour = 2.5, device = "cuda"
[compute]
device = "cpu"
threads = 1
"""


def schema_text() -> str:
    """JSON Schema of a sweep's file, as text."""
    from astraios.collect.schema import sweep_schema

    return json.dumps(sweep_schema(), indent=1) + "\n"


def write_schema(path: Path) -> None:
    """Writes the schema to a file.

    Raises:
        StoreError: it can't be written.
    """
    _write(path, schema_text())


def first_sweep(path: Path) -> Path:
    """Writes a small sweep to start from, and the schema beside it.

    Returns:
        The schema's file.

    Raises:
        UsageError: something is there already.
        StoreError: it can't be written.
    """
    if path.exists():
        raise UsageError(f"{path} is there already: choose another name")
    schema = path.with_name(SCHEMA)
    name = "".join(mark if mark.isalnum() or mark in "-_" else "-" for mark in path.stem) or "mine"
    _write(path, _FIRST.format(schema=SCHEMA, file=path, name=name))
    _write(schema, schema_text())
    return schema


def _write(path: Path, text: str) -> None:
    from astraios.files import write_atomically

    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise StoreError(f"{path}: can't be written ({error.strerror})") from None
