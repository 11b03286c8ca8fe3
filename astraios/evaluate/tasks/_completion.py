"""What ReCode and the nominal HumanEval share: a program is continued, once and greedily, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astraios.evaluate.execute import Limits, Program
from astraios.evaluate.tasks import Decoding, Prompt

LIMITS = Limits(cpu_seconds=3.0)
INSTRUCTION = "Question: Create a Python script for this problem.\n\nAnswer: "
STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif")
"""Where an answer ends. Other than in HumanEvalPack an assertion belongs to it: released texts hold some."""
DECODING = Decoding(max_length=1024, answer_tokens=90)
"""Greedy, 1,024 tokens in all (appendix E)."""


def completion(item_id: str, prompt: str) -> Prompt:
    """Figure 18, with the problem's prompt stripped at both ends, as the released texts begin."""
    text = prompt.strip()
    return Prompt(item_id=item_id, text=INSTRUCTION + text, stop=STOPS, prefix=text)


def checked(row: Mapping[str, Any], text: str) -> Program:
    """The program that decides over one text."""
    return Program("python", text, f"{row['test']}\ncheck({row['entry_point']})", limits=LIMITS)
