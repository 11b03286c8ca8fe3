"""Yes or no from a model's words, as the paper's harness read them, and the worked example that a question may have."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from astraios.errors import UsageError
from astraios.evaluate.options import ScoreOptions
from astraios.evaluate.tasks import Decoding, Options, Prompt, Scoring
from astraios.evaluate.tasks._generated import GeneratedTask
from astraios.evaluate.tasks._gold import Gold, digest
from astraios.settings import setting

INVALID = -1


@dataclass(frozen=True)
class ShotOptions:
    """What a question takes beside the options of all tasks."""

    n_shot: int | None = setting(None, minimum=0, maximum=1)
    """Demonstrations in a prompt; None reads it from the name of the file that is scored, else 0."""
    shot_seed: int = setting(0, minimum=0)
    """Draws the demonstration from the train split."""


@dataclass(frozen=True)
class Demonstration:
    """A row of the train split that was drawn."""

    row: Mapping[str, Any]
    facts: Mapping[str, Any]
    """Seed, number of the row, and hash, for the record."""


@dataclass(frozen=True, kw_only=True)
class QuestionTask(GeneratedTask):
    """A question with a short answer, asked with or without a demonstration."""

    train: Gold
    """The train split, for demonstrations."""

    @property
    def own_options(self) -> type:
        return ShotOptions

    def n_shot(self, options: ScoreOptions) -> int:
        return options.of(ShotOptions).n_shot or 0

    def read_options(self, kind: type[Options], values: Mapping[str, Any], prefix: str) -> Options:
        if (values.get("n_samples") or 1) != 1:
            raise UsageError(
                f"{prefix}n_samples = {values['n_samples']!r}: {self.name} has one greedy answer a question"
            )
        return super().read_options(kind, values, prefix)

    @abstractmethod
    def question(self, row: Mapping[str, Any]) -> str:
        """What is asked about a row, through "Answer:"."""

    @abstractmethod
    def label(self, row: Mapping[str, Any]) -> int:
        """1 for yes, 0 for no."""

    def demonstration(self, options: ScoreOptions) -> Demonstration | None:
        """The worked example of a one-shot prompt; None without one.

        Raises:
            DataError: the train split can't be had.
        """
        if not self.n_shot(options):
            return None
        where = ScoreOptions(data_dir=options.data_dir, revision=options.revision)
        return _drawn(self.train, where, options.of(ShotOptions).shot_seed)

    def asked(self, row: Mapping[str, Any], shot: Demonstration | None) -> str:
        """The prompt for a row, with the demonstration in the form that the released one-shot texts have."""
        if shot is None:
            return self.question(row)
        example = f" {self.question(shot.row)} {'YES' if self.label(shot.row) else 'NO'}"
        return f"{example}\n\n{' ' * 22}{self.question(row)}"

    def prompt(self, row: Mapping[str, Any], text: str) -> Prompt:
        """The prompt `text` about a row; the answer is a line."""
        return Prompt(item_id=str(row["id"]), text=text, stop=("\n",))

    def prompt_facts(self, scoring: Scoring) -> Mapping[str, Any]:
        """Which demonstration was drawn."""
        shot = self.demonstration(scoring.options)
        return {"demonstration": dict(shot.facts)} if shot else {}

    def decoding(self) -> Decoding:
        """Greedy, 512 tokens in all; a longer prompt keeps its last 512 and gets one token of answer."""
        return Decoding(max_length=512, answer_tokens=30)


@cache
def _drawn(train: Gold, where: ScoreOptions, seed: int) -> Demonstration:
    rows = train.rows(where)
    number = random.Random(seed).randrange(len(rows))
    facts = {"seed": seed, "row": number, "rows": len(rows), "hash": digest([rows[number]])}
    return Demonstration(rows[number], facts)


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
