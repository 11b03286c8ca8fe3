"""Yes or no from a model's words, as the paper's harness read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from astraios.evaluate.options import ScoreOptions
from astraios.evaluate.tasks._generated import GeneratedTask
from astraios.settings import setting

INVALID = -1


@dataclass(frozen=True)
class ShotOptions:
    """What a question takes beside the options of all tasks."""

    n_shot: int | None = setting(None, minimum=0, maximum=1)
    """Demonstrations in a prompt; None reads it from the name of the file that is scored, else 0."""


@dataclass(frozen=True, kw_only=True)
class QuestionTask(GeneratedTask):
    """A question with a short answer, asked with or without a demonstration."""

    @property
    def own_options(self) -> type:
        return ShotOptions

    def n_shot(self, options: ScoreOptions) -> int:
        return options.of(ShotOptions).n_shot or 0


def after_answer(text: str) -> str:
    """What follows the last "Answer:" line; the whole text where there is none."""
    return text.rsplit("\nAnswer:", 1)[-1]


def yes_or_no(answer: str, yes: Sequence[str], no: Sequence[str]) -> int:
    """1, 0, or INVALID.

    The first clause decides by the substrings "yes" and "no" ("not" and "know" count as no); where it holds both or
    neither, the phrases `yes` and then `no` are looked for in the whole answer.

    Args:
        answer: the model's words.
        yes: phrases in lower case that mean yes.
        no: phrases in lower case that mean no.
    """
    lower = answer.lower()
    clause = lower.replace(",", ".").split(".")[0]
    if "yes" in clause and "no" not in clause:
        return 1
    if "no" in clause and "yes" not in clause:
        return 0
    if any(phrase in lower for phrase in yes):
        return 1
    if any(phrase in lower for phrase in no):
        return 0
    return INVALID


def verdict(said: int, label: int) -> str:
    """correct, wrong or invalid."""
    return "invalid" if said == INVALID else "correct" if said == label else "wrong"
