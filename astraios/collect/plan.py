"""What a cell will be, before it is run: its size, its steps, its cost."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from astraios.collect.counting import count_parameters
from astraios.collect.flops import train_flops
from astraios.collect.ladders import resolve
from astraios.collect.methods import METHODS
from astraios.collect.sweep import Cell
from astraios.records import ParameterCount


@dataclass(frozen=True)
class Plan:
    """A cell with its numbers."""

    cell: Cell
    count: ParameterCount
    n_tokens: int
    """Tokens trained on in all."""
    train_flops: float

    def to_dict(self) -> dict[str, Any]:
        """One object of `astraios collect --dry-run --json`."""
        return {
            "run_id": self.cell.run_id,
            "model_id": self.cell.model_id,
            "method_id": self.cell.method_id,
            "seed": self.cell.seed,
            "n_params": self.count.n_params,
            "n_params_nonembedding": self.count.n_params_nonembedding,
            "n_trainable": self.count.n_trainable,
            "trainable_share": self.count.n_trainable / self.count.n_params,
            "learning_rate": self.cell.train.learning_rate,
            "steps": self.cell.train.steps,
            "n_tokens": self.n_tokens,
            "train_flops": self.train_flops,
        }

    def rows(self) -> dict[str, Any]:
        """Rows of the tables run, base_model and tuning_method."""
        cell = self.cell
        ladder, rung = resolve(cell.model_id)
        method = METHODS.get(cell.method_id)
        return {
            "run": {
                "run_id": cell.run_id,
                "origin": "measured",
                "model_id": cell.model_id,
                "method_id": cell.method_id,
                "seed": cell.seed,
                "n_params": self.count.n_params,
                "n_params_nonembedding": self.count.n_params_nonembedding,
                "n_trainable": self.count.n_trainable,
                "n_tokens": self.n_tokens,
                "steps": cell.train.steps,
                "tokens_per_step": self.n_tokens // cell.train.steps,
                "train_flops": self.train_flops,
                "learning_rate": cell.train.learning_rate,
                "settings": cell.to_dict(),
            },
            "base_model": {
                "model_id": cell.model_id,
                "ladder": ladder.name,
                "revision": cell.revision,
                "architecture": rung.config.get("model_type"),
                "n_params": self.count.n_params,
                "n_params_nonembedding": self.count.n_params_nonembedding,
                "settings": dict(rung.config),
            },
            "tuning_method": {
                "method_id": method.name,
                "title": method.title,
                "kind": method.kind,
                "citation": method.citation,
            },
        }


def describe(cell: Cell) -> Plan:
    """The plan of a cell; nothing is downloaded or allocated for a base whose architecture is known."""
    count = _count(cell.model_id, cell.method_id, json.dumps(dict(cell.settings), sort_keys=True), cell.train.steps)
    n_tokens = cell.train.steps * cell.train.batch_size * cell.data.sequence_length
    ladder, rung = resolve(cell.model_id)
    method = METHODS.get(cell.method_id)
    flops = train_flops(
        ladder.config(rung.model_id),
        count,
        kind=method.kind,
        n_tokens=n_tokens,
        sequence_length=cell.data.sequence_length,
        n_virtual_tokens=method.n_virtual_tokens(cell.settings),
    )
    return Plan(cell, count, n_tokens, flops)


@functools.cache
def _count(model_id: str, method_id: str, settings: str, steps: int) -> ParameterCount:
    ladder, rung = resolve(model_id)
    return count_parameters(ladder.config(rung.model_id), METHODS.get(method_id), json.loads(settings), steps)
