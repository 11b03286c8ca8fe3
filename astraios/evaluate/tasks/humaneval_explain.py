"""HumanEvalExplain: describe a function, then write it again from that description alone.

Example, first stage:
    Question: Provide a concise natural language description of the code using at most 25 characters.
    def add(x: int, y: int):
        return x + y

    Answer:
Second stage:
    Question: Write functional code in Python according to the description.
    Adds two numbers.

    Answer:
    def add(x: int, y: int):
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from astraios.evaluate.ending import END, cut
from astraios.evaluate.tasks import Prompt, Scoring
from astraios.evaluate.tasks._humaneval import STOPS, TITLES, HumanEvalPack


def description(answer: str, row: Mapping[str, Any], stop: tuple[str, ...]) -> str:
    """The answer cut to the docstring's length and at `stop`, without long lines (over 20 characters) of the solution.

    In the order of the authors' harness: a stop text that the length cuts in two stays.
    """
    text = cut(answer.strip()[: len(row["docstring"])], (*stop, END)).rstrip()
    for line in map(str.strip, row["canonical_solution"].split("\n")):
        if len(line) > 20:
            text = text.replace(line, "")
    return text


@dataclass(frozen=True, kw_only=True)
class Explain(HumanEvalPack):
    """Two stages; 20 descriptions a problem, one program from each."""

    n_stages: int = 2

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """First stage: describe."""
        return [
            Prompt(
                item_id=row["task_id"],
                text="Question: Provide a concise natural language description of the code using at most "
                f"{len(row['docstring'])} characters.\n{row['declaration']}{row['canonical_solution']}\n\nAnswer:",
                stop=STOPS[self.language],
            )
            for row in self.gold(scoring)
        ]

    def follow_up(self, scoring: Scoring, answers: dict[str, list[str]]) -> list[Prompt]:
        """Second stage: one prompt a description, named problem:number."""
        prompts = []
        for row in self.gold(scoring):
            for number, answer in enumerate(answers[row["task_id"]]):
                told = description(answer, row, STOPS[self.language])
                instruction = f"Write functional code in {TITLES[self.language]} according to the description.\n{told}"
                # The model continues the bare declaration; the program that is stored has the docstring too.
                prompt = self.ask(row, instruction, row["declaration"], row["prompt"])
                prompts.append(replace(prompt, item_id=f"{row['task_id']}:{number}"))
        return prompts


EXPLAIN = Explain.in_all_languages("humanevalexplain", "Code explanation")
