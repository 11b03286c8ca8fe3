"""What a cell will be, before it is run: its size, its steps, its cost."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from typing import Any

from astraios.collect.counting import count_parameters
from astraios.collect.flops import train_flops
from astraios.collect.ladders import resolve
from astraios.collect.methods import METHODS
from astraios.collect.sweep import Cell
from astraios.errors import CellError, UsageError
from astraios.records import ParameterCount


@dataclass(frozen=True)
class Plan:
    """A cell with its numbers."""

    cell: Cell
    count: ParameterCount
    n_tokens: int
    """Tokens trained on in all."""
    train_flops: float
    problem: str | None = None
    """Why the cell can't be run: its method does not fit the base, or a setting does not; nothing is counted then."""

    def to_state(self) -> dict[str, Any]:
        """The whole plan as JSON types, for another process."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**content, "cell": json.loads(self.cell.to_json()), "count": dataclasses.asdict(self.count)}

    @classmethod
    def from_state(cls, content: dict[str, Any]) -> Plan:
        """What `to_state` gave."""
        cell, count = Cell.from_json(json.dumps(content["cell"])), ParameterCount(**content["count"])
        return cls(**{**content, "cell": cell, "count": count})

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
            "kept_bytes": self.kept_bytes,
            "problem": self.problem,
        }

    @property
    def kept_bytes(self) -> int:
        """Estimated size of the tuned model on disk: what is trained, in the precision it is kept in."""
        full = METHODS.get(self.cell.method_id).kind == "full"
        half = full and self.cell.train.dtype == "bfloat16"
        return self.count.n_trainable * (2 if half else 4)

    @property
    def checkpoint_bytes(self) -> int:
        """Estimated size of the state to resume from: parameters and both moments, in float32."""
        return self.count.n_trainable * 12

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
                "n_trainable": None if self.problem else self.count.n_trainable,
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
    """The plan of a cell; nothing is downloaded or allocated for a base whose architecture is known.

    A method that does not fit the base is no error here but the plan's `problem`, so that other cells can be run.

    Raises:
        AstraiosError: the base model can't be had.
    """
    ladder, rung = resolve(cell.model_id)
    config, method = ladder.config(rung.model_id), METHODS.get(cell.method_id)
    n_tokens = cell.train.steps * cell.train.batch_size * cell.data.sequence_length
    count, problem = _count(
        cell.model_id, cell.method_id, json.dumps(dict(cell.settings), sort_keys=True), cell.train.steps
    )
    if problem:
        return Plan(cell, count, n_tokens, 0.0, problem)
    flops = train_flops(
        config,
        count,
        kind=method.kind,
        n_tokens=n_tokens,
        sequence_length=cell.data.sequence_length,
        n_virtual_tokens=method.n_virtual_tokens(cell.settings),
    )
    return Plan(cell, count, n_tokens, flops)


@functools.cache
def _count(model_id: str, method_id: str, settings: str, steps: int) -> tuple[ParameterCount, str | None]:
    """Parameters, and why the method can't be attached if it can't."""
    ladder, rung = resolve(model_id)
    config = ladder.config(rung.model_id)
    try:
        return count_parameters(config, METHODS.get(method_id), json.loads(settings), steps), None
    except (CellError, UsageError) as error:
        base = count_parameters(config, METHODS.get("fft"), {}, steps)
        return dataclasses.replace(base, n_trainable=0), str(error)
