"""What harnesses of evaluations have in common: the model that they name, intervals, and which evaluation is which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers._files import plain_file
from astraios.importers._folders import ADAPTER, FolderFacts, folder_facts
from astraios.importers._models import UNSPECIFIED, UNTUNED, base_model
from astraios.importers._runs import Found, Skipped
from astraios.records import EvaluationRow, SampleScore, Score, TaskRow


@dataclass
class Evaluation:
    """One task of one file of results."""

    row: EvaluationRow
    scores: list[Score]
    samples: list[SampleScore]
    task: TaskRow
    variant: str = ""
    """What makes it another evaluation than that of the whole task by the model as it is: a limit, arguments."""


def interval(value: float, stderr: float | None, n: int | None) -> tuple[float | None, float | None]:
    """The 95 % interval of a score: Wilson's at the trials that give its standard error, for a share of items.

    Args:
        value: the score.
        stderr: its standard error; None where the source has none, and then there is no interval.
        n: items.
    """
    if stderr is None or value - value != 0:
        return None, None
    if not 0 <= value <= 1 or not (n or (stderr > 0 and 0 < value < 1)):
        return value - 1.959964 * stderr, value + 1.959964 * stderr
    from astraios.evaluate.tasks._estimate import share_interval

    return share_interval(value, stderr, n or 1)


def model_facts(name: str, adapter: str | None, near: Path) -> tuple[FolderFacts, Path | None]:
    """Facts about the model that a harness evaluated, and its folder where that is there.

    Args:
        name: of the model: a hub id, a ladder's or a local folder.
        adapter: path of an adapter, or None.
        near: folder of the results; a path may be relative to it or to a folder above it.
    """
    told = FolderFacts()
    folder = find_folder(adapter or name, near)
    if adapter:
        if folder is not None and plain_file(folder / ADAPTER):
            told = _of_folder(folder)
        told.add("nobody says", method_id=UNSPECIFIED)
    elif folder is not None and _was_trained(folder):
        told = _of_folder(folder)
    told.add("the harness", **base_model(name, near))
    told.add("a model that was evaluated as it is", method_id=UNTUNED)
    return told, folder if adapter or (folder is not None and _was_trained(folder)) else None


def _of_folder(folder: Path) -> FolderFacts:
    try:
        told = folder_facts(folder)
    except DataError:
        return FolderFacts()
    return told


def _was_trained(folder: Path) -> bool:
    """Whether a folder of a model is that of a training run: of the Trainer's, or a checkpoint of one."""
    return any(plain_file(one / name) for one in (folder, folder.parent) for name in ("trainer_state.json",)) or (
        plain_file(folder / "training_args.bin")
    )


def find_folder(name: str, near: Path) -> Path | None:
    """A model's folder by its path, relative to this process, to the results, or to a folder above them."""
    for root in (Path(), near, *list(near.absolute().parents)[:5]):
        try:
            if any(plain_file(root / name / one) for one in (ADAPTER, "config.json")):
                return root / name
        except (OSError, ValueError):
            return None
    return None


def add_evaluation(run: Found, one: Evaluation, source: str, skipped: Skipped) -> None:
    """Puts an evaluation into its run, in place of an earlier one that is the same but older.

    An evaluation that differs (a limit, a quantized model, other arguments) has a name of its own, `task [variant]`,
    whether the plain one is there or not: it never stands for it, in this import or a later one.
    """
    task = named(one.row.task_id, one.variant)
    if any((row.task_id, row.n_shot) == (task, one.row.n_shot) for row in run.evaluations):
        skipped.add(f"{task}, {one.row.n_shot}-shot", f"results before those of {source}")
        _drop(run, (task, one.row.n_shot))
    run.evaluations.append(replace(one.row, task_id=task))
    run.scores += [replace(score, task_id=task) for score in one.scores]
    run.samples += [replace(sample, task_id=task) for sample in one.samples]


def named(task: str, variant: str) -> str:
    """The name of an evaluation that is another than the plain one of its task."""
    return f"{task} [{variant}]" if variant else task


def _drop(run: Found, key: tuple[str, int]) -> None:
    lists: tuple[list[Any], ...] = (run.evaluations, run.scores, run.samples)
    for rows in lists:
        rows[:] = [row for row in rows if (row.task_id, row.n_shot) != key]
