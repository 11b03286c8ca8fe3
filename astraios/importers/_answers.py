"""What samples say of their task: the score of guessing, and how likely the right answers are.

The task's own loss and the probability of the right answer are continuous and move before accuracy does. They stand
beside the metrics of the source under names of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from astraios.records import EvaluationRow, SampleScore, Score, TaskRow

BITS_PER_BYTE = "answer_bits_per_byte"
"""Mean over items of minus the log-likelihood of the right answer, bits a UTF-8 byte of it."""
PROBABILITY = "answer_probability"
"""Mean over items of the probability of the right answer: among the choices where there are some, else by itself."""
ROLLING = "loglikelihood_rolling"
"""Output type of tasks whose likelihoods are of whole documents, which answer nothing."""


def guessing_of(samples: Iterable[SampleScore]) -> float | None:
    """The score of guessing: the mean share of right answers among the choices; None unless every item tells."""
    shares = {}
    for one in samples:
        if not one.n_choices or one.answers is None:
            return None
        shares[one.item_id] = len(one.answers) / one.n_choices
    return fmean(shares.values()) if shares else None


def describe_task(task: TaskRow, samples: Sequence[SampleScore]) -> TaskRow:
    """A task with its chance level, citation and directions, as far as its samples or the common benchmarks tell.

    Args:
        task: as the source has it.
        samples: of one run, or of all.
    """
    from astraios.evaluate.common_tasks import common_task

    known, chance, told = common_task(task.task_id), task.chance, task.chance_from
    if chance is None and (chance := guessing_of(samples)) is not None:
        told = "samples"
    if chance is None and known is not None and (chance := known.chance(task.metric)) is not None:
        told = "benchmark"
    lower = task.lower_is_better
    if lower is None and known is not None and known.lower_is_better:
        lower = list(known.lower_is_better)
    citation = task.citation or (known.citation if known else None)
    return replace(task, chance=chance, chance_from=told, citation=citation, lower_is_better=lower)


def answer_scores(
    evaluations: Iterable[EvaluationRow], samples: Iterable[SampleScore], scores: Iterable[Score]
) -> list[Score]:
    """The metrics of the right answers of a run's tasks, as far as its samples tell.

    A metric of the source that has the same name stays as it is.
    """
    whole = {(row.task_id, row.n_shot) for row in evaluations if _output(row.settings) == ROLLING}
    groups: dict[tuple[str, int], list[SampleScore]] = {}
    for one in samples:
        if one.loglikelihood is not None and (one.task_id, one.n_shot) not in whole:
            groups.setdefault((one.task_id, one.n_shot), []).append(one)
    there = {(score.task_id, score.n_shot, score.metric) for score in scores}
    more = []
    for (task, shots), mine in groups.items():
        for metric, measure in ((BITS_PER_BYTE, _bits), (PROBABILITY, _probability)):
            found = [value for one in mine if (value := measure(one)) is not None]
            if found and (task, shots, metric) not in there:
                error = stdev(found) / math.sqrt(len(found)) if len(found) > 1 else None
                more.append(Score.told(task, metric, fmean(found), n_shot=shots, stderr=error, n=len(found)))
    return more


def with_direction(task: TaskRow) -> TaskRow:
    """A task that has the metrics of right answers: of the bits less is better."""
    lower = list(task.lower_is_better) if isinstance(task.lower_is_better, list) else None
    if lower is None:
        lower = [] if task.higher_is_better else [task.metric]
    return replace(task, lower_is_better=[*lower, *([] if BITS_PER_BYTE in lower else [BITS_PER_BYTE])])


def _output(settings: Any) -> str:
    return str(settings.get("output_type") or "") if isinstance(settings, Mapping) else ""


def _bits(one: SampleScore) -> float | None:
    if one.loglikelihood is None or not one.answer_bytes or not math.isfinite(one.loglikelihood):
        return None
    return -one.loglikelihood / math.log(2) / one.answer_bytes


def _probability(one: SampleScore) -> float | None:
    """Of the right answer among the choices by their likelihoods as they are, not a byte."""
    if one.choice_loglikelihoods is None:
        return None if one.loglikelihood is None else math.exp(min(one.loglikelihood, 0.0))
    right = [place for place in one.answers or () if isinstance(place, int)]
    if len(right) != 1:
        return None
    values = [float(value) for value in one.choice_loglikelihoods]
    top = max(values)
    if not math.isfinite(top):
        return None
    weights = [math.exp(value - top) for value in values]
    return weights[right[0]] / sum(weights)
