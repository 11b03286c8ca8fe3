"""HumanEvalFix: repair the function, given its tests.

Example:
    Question: Fix bugs in add.
    def add(x: int, y: int):
        return x - y

    def check(add): ...

    Answer:
    def add(x: int, y: int):
"""

from __future__ import annotations

from dataclasses import dataclass

from astraios.evaluate.tasks import Prompt, Scoring
from astraios.evaluate.tasks._humaneval import HumanEvalPack


@dataclass(frozen=True, kw_only=True)
class Fix(HumanEvalPack):
    """The buggy function and its tests; the answer starts with the declaration."""

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """One prompt a problem."""
        return [
            self.ask(
                row,
                f"Fix bugs in {row['entry_point']}.\n{row['declaration']}{row['buggy_solution']}\n{row['test']}",
                row["declaration"],
                row["declaration"],
            )
            for row in self.gold(scoring)
        ]


FIX = Fix.in_all_languages("humanevalfix", "Code repair")
