"""What a cell will be, before it is run: its size, its steps, its cost."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from astraios.collect.plan.cell import Cell
from astraios.collect.plan.facts import facts_of
from astraios.errors import CellError
from astraios.models.ladders import resolve
from astraios.models.methods import METHODS
from astraios.records import BaseModelRow, ParameterCount, RunRow
from astraios.runs.rows import RunRows
from astraios.train.memory import Memory


@dataclass(frozen=True)
class Plan:
    """A cell with its numbers."""

    cell: Cell
    count: ParameterCount
    n_tokens: int
    """Tokens trained on in all."""
    train_flops: float
    problem: str | None = None
    """Why the cell can't be run: its method does not fit the base, or a setting does not (nothing is counted then), or
    it needs more memory than there is."""
    memory: Memory | None = None
    """Estimated memory of training, on each of its devices."""
    device: str = "auto"
    """What it is planned for: cpu, cuda, or auto (whatever is found)."""

    def to_state(self) -> dict[str, Any]:
        """The whole plan as JSON types, for another process."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {"count": dataclasses.asdict(self.count), "memory": self.memory and dataclasses.asdict(self.memory)}
        return {**content, "cell": json.loads(self.cell.to_json()), **plain}

    @classmethod
    def from_state(cls, content: dict[str, Any]) -> Plan:
        """What `to_state` gave."""
        cell, count = Cell.from_json(json.dumps(content["cell"])), ParameterCount(**content["count"])
        memory = Memory(**content["memory"]) if content["memory"] else None
        return cls(**{**content, "cell": cell, "count": count, "memory": memory})

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
            "n_train_tokens": self.cell.data.n_train_tokens,
            "settings": dict(self.cell.settings),
            "n_tokens": self.n_tokens,
            "train_flops": self.train_flops,
            "kept_bytes": self.kept_bytes,
            "devices": self.cell.train.processes,
            "memory_bytes": round(self.memory.total) if self.memory else None,
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
        return self.weights_bytes * 3

    @property
    def weights_bytes(self) -> int:
        """Estimated size of what is trained, in float32."""
        return self.count.n_trainable * 4

    def rows(self, sweep_json: str) -> RunRows:
        """What a run directory says of the cell before it is run.

        Args:
            sweep_json: the sweep that asks.
        """
        cell = self.cell
        ladder, rung = resolve(cell.base)
        run = RunRow(
            run_id=cell.run_id,
            origin="measured",
            model_id=cell.model_id,
            method_id=cell.method_id,
            seed=cell.seed,
            n_params=self.count.n_params,
            n_params_nonembedding=self.count.n_params_nonembedding,
            n_trainable=None if self.problem else self.count.n_trainable,
            n_tokens=self.n_tokens,
            steps=cell.train.steps,
            tokens_per_step=self.n_tokens // cell.train.steps,
            train_flops=self.train_flops,
            learning_rate=cell.train.learning_rate,
            settings=cell.to_dict(),
            base_revision=cell.revision or cell.weights,
        )
        base = BaseModelRow(
            model_id=cell.model_id,
            ladder=ladder.name,
            revision=cell.revision or cell.weights,
            architecture=rung.architecture,
            n_params=self.count.n_params,
            n_params_nonembedding=self.count.n_params_nonembedding,
            settings=dict(rung.config),
        )
        method = METHODS.get(cell.method_id).describe()
        return RunRows(sweep_json=sweep_json, run=run, base_model=base, tuning_method=method)


def describe(cell: Cell, device: str = "auto") -> Plan:
    """The plan of a cell; nothing is downloaded or allocated for a base whose architecture is known.

    A method that does not fit the base is no error here but the plan's `problem`, so that other cells can be run.

    Args:
        cell: what is asked for.
        device: cpu, cuda or auto: what it will be trained on, for the memory it needs; auto counts as cuda.

    Raises:
        AstraiosError: the base model can't be had.
    """
    facts = facts_of(cell.base, cell.method_id, cell.settings, cell.train, cell.data.sequence_length, device)
    n_tokens = cell.train.steps * cell.train.batch_size * cell.data.sequence_length
    if cell.train.fsdp and not facts.problem:
        try:
            METHODS.get(cell.method_id).check_shards(cell.train.quantization)
        except CellError as error:
            facts = dataclasses.replace(facts, problem=str(error))
    if facts.problem:
        return Plan(cell, facts.count, n_tokens, 0.0, facts.problem, device=device)
    return Plan(cell, facts.count, n_tokens, facts.flops_per_token * n_tokens, None, facts.memory, device)
