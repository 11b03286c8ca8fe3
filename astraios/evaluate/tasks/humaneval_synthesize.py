"""HumanEvalSynthesize: write the function that the docstring describes.

Example:
    Question: Write a Python function `add(x: int, y: int)` to solve the following problem:
    Add two numbers x and y

    Answer:
    def add(x: int, y: int):
        \"\"\"Add two numbers x and y\"\"\"
"""

from __future__ import annotations

from dataclasses import dataclass

from astraios.evaluate.tasks import Prompt, Scoring
from astraios.evaluate.tasks._humaneval import HumanEvalPack


@dataclass(frozen=True, kw_only=True)
class Synthesize(HumanEvalPack):
    """The row's instruction; the answer starts with signature and docstring."""

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """One prompt a problem."""
        return [self.ask(row, row["instruction"].strip(), row["prompt"], row["prompt"]) for row in self.gold(scoring)]


SYNTHESIZE = Synthesize.in_all_languages("humanevalsynthesize", "Code synthesis")
