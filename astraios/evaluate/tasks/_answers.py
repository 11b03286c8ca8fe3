"""Yes or no from a model's words, as the paper's harness read them."""

from __future__ import annotations

from collections.abc import Sequence

INVALID = -1


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
