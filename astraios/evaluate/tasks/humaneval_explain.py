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
from dataclasses import dataclass
from typing import Any

from astraios.evaluate.tasks import Prompt, Scoring
from astraios.evaluate.tasks._humaneval import END, TITLES, HumanEvalPack


def conceal(description: str, row: Mapping[str, Any]) -> str:
    """The description cut to the docstring's length, without lines of the solution (longer than 20 characters)."""
    text = description[: len(row["docstring"])]
    for line in row["canonical_solution"].split("\n"):
        if len(line.strip()) > 20:
            text = text.replace(line, "").replace(line.strip(), "")
    return text


@dataclass(frozen=True, kw_only=True)
class Explain(HumanEvalPack):
    """Two stages; 20 descriptions a problem, one program from each."""

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """First stage: describe."""
        return [
            Prompt(
                item_id=row["task_id"],
                text="Question: Provide a concise natural language description of the code using at most "
                f"{len(row['docstring'])} characters.\n{row['declaration']}{row['canonical_solution']}\n\nAnswer:",
                stop=(END,),
            )
            for row in self.gold(scoring)
        ]

    def follow_up(self, scoring: Scoring, answers: dict[str, list[str]]) -> list[Prompt]:
        """Second stage: one prompt a description, named problem:number."""
        prompts = []
        for row in self.gold(scoring):
            for number, answer in enumerate(answers[row["task_id"]]):
                instruction = (
                    f"Write functional code in {TITLES[self.language]} according to the description.\n"
                    f"{conceal(answer.strip(), row)}"
                )
                prompt = self.ask(row, instruction, row["declaration"], row["declaration"])
                prompts.append(
                    Prompt(
                        item_id=f"{row['task_id']}:{number}", text=prompt.text, stop=prompt.stop, prefix=prompt.prefix
                    )
                )
        return prompts

    def finish(self, prompt: Prompt, answer: str) -> str:
        """The description as it is; the program of the second stage cut where the function ends."""
        return super().finish(prompt, answer) if prompt.prefix else answer.split(END)[0]


EXPLAIN = Explain.in_all_languages("humanevalexplain", "Code explanation")
