"""How a cell's model is scored on its tasks: at its end, while it trains, and afterwards from kept weights."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.collect.plan.cell import Cell
from astraios.data.sources import Record
from astraios.errors import CellError
from astraios.evaluate.options import EvaluateOptions
from astraios.evaluate.tasks import TASKS, Task, TunedModel, options_of
from astraios.files import exclusive
from astraios.models.ladders import positions
from astraios.models.methods import METHODS
from astraios.records import ScorePoint, TaskResult
from astraios.runs.directory import RunDirectory
from astraios.runs.rows import Ending, RunRows
from astraios.train.checkpoint import KeptCheckpoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from astraios.evaluate.generate.vllm import Server
    from astraios.train.loop import TrainState


@dataclass(frozen=True)
class Scorer:
    """Scores one cell's model, whatever state it is in.

    Args:
        cell: what was asked for.
        directory: its run directory; answers and verdicts are kept there.
        tokenizer: of the base model.
        held_out: test records of the data.
        tokens_per_step: tokens of a global batch.
        options: per task; those of the sweep by default.
    """

    cell: Cell
    directory: RunDirectory
    tokenizer: PreTrainedTokenizerBase
    held_out: list[Record]
    tokens_per_step: int
    options: Mapping[str, EvaluateOptions] | None = None

    def result(self, model: nn.Module, task: str, step: int | None = None) -> TaskResult:
        """The model's result on a task.

        Args:
            model: the tuned model.
            task: its entry of `tasks`.
            step: of training, whose answers are others than those of the end; None is the end.
        """
        n_virtual = METHODS.get(self.cell.method_id).n_virtual_tokens(self.cell.settings)
        at = "" if step is None else f"step-{step}"
        return self._result(task, at, positions(model.config) - n_virtual, model=model, n_virtual=n_virtual)

    def served(self, server: Server, task: str) -> TaskResult:
        """The result on a task of the model that vLLM serves; its samples are others than those of transformers."""
        how = {"model": None, "n_virtual": 0, "generator": server.generator, "engine": "vllm"}
        return self._result(task, "vllm", server.length(), **how)

    def _result(self, name: str, at: str, length: int, **how: Any) -> TaskResult:
        """The result of the model that `how` describes (fields of TunedModel) and that reads `length` tokens; answers
        are kept in the folder `at` below tasks/."""
        task, options = self._evaluation(name)
        tuned = TunedModel(
            tokenizer=self.tokenizer,
            n_positions=min(length, self.cell.data.sequence_length),
            data=self.cell.data,
            held_out=self.held_out,
            seed=self.cell.seed,
            options=replace(options, folder=self.directory.path / "tasks" / at),
            **how,
        )
        return task.evaluate(tuned)

    def _evaluation(self, name: str) -> tuple[Task, EvaluateOptions]:
        return self.cell.evaluation(name) if self.options is None else (TASKS.get(name), self.options[name])

    def along(self, model: nn.Module, state: TrainState, tasks: Sequence[str]) -> int:
        """Scores the model of a state in the middle of training, unless the run directory has it already.

        Returns:
            How many tasks were scored.
        """
        known = {point.task_id for point in self.directory.points() if point.step == state.step}
        missing = [task for task in tasks if task not in known]
        for task in missing:
            seconds = state.train_seconds * self.cell.train.processes
            self.record(task, self.result(model, task, state.step), state.step, seconds)
        self.directory.flush()
        return len(missing)

    def record(self, task: str, result: TaskResult, step: int, device_seconds: float | None) -> None:
        """Keeps scores as points along training."""
        for score in result.scores:
            self.directory.append_point(
                ScorePoint(
                    task_id=task,
                    metric=score.metric,
                    step=step,
                    value=score.value,
                    n_tokens=step * self.tokens_per_step,
                    device_seconds=device_seconds,
                    stderr=score.stderr,
                    n=score.n,
                )
            )


def score_checkpoints(
    path: Path,
    tasks: Sequence[str],
    options: Mapping[str, Any],
    device: str,
    tell: Callable[[str], None] = lambda line: None,
) -> list[ScorePoint]:
    """Scores the weights that a finished run of ours has kept; its run directory has the points afterwards.

    Stopped at any moment, the same call goes on: what was scored is not scored again.

    Args:
        path: the run directory.
        tasks: names.
        options: of the tasks, by name: fields of EvaluateOptions and each task's own; None leaves the sweep's.
        device: cpu or cuda.
        tell: told of each checkpoint in a line.

    Returns:
        The run's scores along training on these tasks.

    Raises:
        CellError: no run directory of a finished run that has kept checkpoints.
        UsageError: unknown task or option.
        DataError: the gold data can't be had.
    """
    directory, kept = RunDirectory(path), KeptCheckpoints(path / "checkpoints")
    if not (path / "cell.json").is_file():
        raise CellError(f"{path}: no run directory of `astraios collect`: name one, for instance runs/1a2b3c")
    if not any(kept.folder.glob("step-*.pt")):
        raise CellError(
            f"{path} has kept no checkpoints: run its sweep with [keep] checkpoints = true, or with [train] "
            "score_every = N, which scores while it trains"
        )
    with exclusive(path / "lock", wait=10.0, what=f"run {path.name}"):
        manifest = directory.manifest()
        if manifest is None or manifest["state"] != "done":
            raise CellError(f"run {path.name} is not done: `astraios collect` its sweep, then score its checkpoints")
        cell = Cell.from_json((path / "cell.json").read_text(encoding="utf-8"))
        asked = {name: value for name, value in options.items() if value is not None}
        by_task = {
            task: options_of([task], EvaluateOptions, {**cell.task_options.get(task, {}), **asked})[task]
            for task in tasks
        }
        _refuse_mixing(directory, by_task)
        _score_states(cell, directory, kept, by_task, device, tell)
        _write_manifest(directory, manifest["rows"], tasks)
    return [point for point in directory.points() if point.task_id in tasks]


def _refuse_mixing(directory: RunDirectory, options: Mapping[str, EvaluateOptions]) -> None:
    """Checkpoints are scored in memory; what vLLM has answered at the end of training is no point of their curve.

    Raises:
        CellError: it would be, and nobody has said that it may.
    """
    for task, asked in options.items():
        known = directory.read_task(task)
        by_vllm = asked.engine == "vllm" or (known is not None and known[0].settings.get("engine") == "vllm")
        if by_vllm and asked.engine != "transformers":
            raise CellError(
                f"the final answers to {task} were generated by vLLM, and checkpoints are answered in memory, by "
                "transformers: --engine transformers scores them all the same"
            )


def _score_states(
    cell: Cell,
    directory: RunDirectory,
    kept: KeptCheckpoints,
    options: Mapping[str, EvaluateOptions],
    device: str,
    tell: Callable[[str], None],
) -> None:
    import torch

    from astraios.collect.cell.training import Training, prepared_data

    torch.set_num_threads(cell.threads)
    training = Training(cell, device)
    base, tokenizer = training.load_base()
    packed, _, held_out = prepared_data(cell, tokenizer)
    model = training.attached(base).eval()
    tokens_per_step = cell.train.batch_size * int(packed.train.shape[1])
    scorer = Scorer(cell, directory, tokenizer, held_out, tokens_per_step, options)
    for state in kept.states():
        start = time.perf_counter()
        training.set_weights(model, state)
        n = scorer.along(model, state, list(options))
        seconds = time.perf_counter() - start
        tell(f"step {state.step}: " + (f"{n} tasks in {seconds:.0f} s" if n else "scored before"))


def _write_manifest(directory: RunDirectory, rows: Mapping[str, Any], tasks: Sequence[str]) -> None:
    """The finished run with its new points, as if they had been there when it ended."""
    known = RunRows.from_json(rows)
    described = {row.task_id: row for row in (*(TASKS.get(name).describe() for name in tasks), *(known.tasks or ()))}
    known.tasks = list(described.values())
    results = with_kept(directory, {})
    held = {one for result in results.values() for one in scored(result)}
    lost = [row.task_id for row in known.evaluations or () if (row.task_id, row.n_shot) not in held]
    if lost:
        raise CellError(f"run {directory.path.name}: task-{lost[0]}.json is gone: `astraios collect` its sweep again")
    last = rows["attempts"][-1]
    ending = Ending(attempt=last["attempt"], state=last["state"], started_at=last["started_at"])
    directory.finish(known, ending, results)


def with_kept(
    directory: RunDirectory, results: Mapping[str, tuple[TaskResult, float]]
) -> dict[str, tuple[TaskResult, float]]:
    """Results by name, and those that a run directory keeps of other tasks."""
    found = dict(results)
    for name in directory.task_names():
        kept = directory.read_task(name)
        if kept is not None and not scored(kept) & {one for result in found.values() for one in scored(result)}:
            found[name] = kept
    return found


def scored(known: tuple[TaskResult, float]) -> set[tuple[str, int]]:
    """Tasks of a result, with the number of demonstrations."""
    return {(score.task_id, score.n_shot) for score in known[0].scores}
