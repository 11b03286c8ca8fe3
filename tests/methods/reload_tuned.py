"""Run in a process of its own: load tuned models and write down their logits. Arguments: plan.json, output file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tuning_helpers import base, logits

from astraios.models.methods import METHODS

if __name__ == "__main__":
    torch.set_num_threads(1)
    plan = json.loads(Path(sys.argv[1]).read_text())
    found = {}
    for key, (name, directory, adapter) in plan.items():
        found[key] = logits(METHODS.get(name).load(base(Path(directory)), Path(adapter)))
    torch.save(found, sys.argv[2])
