"""What the three tasks of HumanEvalPack share: programs, post-processing, pass@k."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from astraios.errors import UsageError
from astraios.evaluate.ending import END, cut
from astraios.evaluate.execute import Limits, Program, Verdict
from astraios.evaluate.options import Nothing, ScoreOptions
from astraios.evaluate.tasks import Decoding, Prompt, Scoring
from astraios.evaluate.tasks._estimate import pass_scores
from astraios.evaluate.tasks._files import Layout, read_generations
from astraios.evaluate.tasks._generated import GeneratedTask
from astraios.evaluate.tasks._gold import Gold, digest
from astraios.records import SampleScore, TaskResult
from astraios.settings import setting

HELPER = """import math
import re
import sys
import copy
import datetime
import itertools
import collections
import heapq
import statistics
import functools
import hashlib
import numpy
import numpy as np
import string
from typing import *
from collections import *
"""
"""Imports that Python programs may count on."""

STOPS: dict[str, tuple[str, ...]] = {
    "python": ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert"),
    "java": (),
}
"""Where an answer ends: the next thing at the top level. Java has none: the released programs hold every candidate."""
LIMITS = Limits(cpu_seconds=10.0)
FIELDS = ("task_id", "prompt", "declaration", "test", "canonical_solution", "buggy_solution", "docstring",
          "instruction", "entry_point")  # fmt: skip
_EMPTY_MAIN = re.compile(r"public class Main\s*\{\s*\}")
TITLES = {"python": "Python", "java": "Java"}
CITATION = "Muennighoff et al., 2023, OctoPack (HumanEvalPack); ASTRAIOS table 3"


def python_body(text: str) -> str:
    """`text` without the first line that is not indented, and what follows it: a function's body, given its head.

    >>> python_body("\\n    return 1\\n\\nprint(2)")
    '\\n    return 1\\n'
    """
    lines = text.split("\n")
    outside = (number for number, line in enumerate(lines) if line.strip() and line[0] not in " \t")
    return "\n".join(lines[: next(outside, len(lines))])


def java_body(text: str) -> str:
    """`text` through the brace that closes the class which the prompt opened (two are open: class and method).

    What never closes it loses a main method and what follows its last brace, and gets a brace where it opens one more
    than it closes: so the released programs end.

    >>> java_body(" return 1; } } class More {}"), java_body(" return 1; } // and"), java_body(" return")
    (' return 1; } }', ' return 1; }', ' return')
    >>> java_body(" for (;;) { if (a) { return 1; } // and")
    ' for (;;) { if (a) { return 1; }\\n}'
    """
    closed = _closing(text)
    if closed is not None:
        return text[: closed + 1]
    head, main, _ = text.partition("public static void main")
    body = head + "}" * bool(main)
    body = body[: body.rfind("}") + 1] or body
    return body + "\n}" * (body.count("{") - 1 == body.count("}"))


def _closing(text: str) -> int | None:
    """Place of the brace that closes the class, or None."""
    depth = 2
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if not depth:
            return place
    return None


def python_complete(text: str) -> bool:
    """Whether the function's body has ended."""
    return python_body(text) != text


def java_complete(text: str) -> bool:
    """Whether the class has been closed."""
    return _closing(text) is not None


BODY = {"python": python_body, "java": java_body}
COMPLETE = {"python": python_complete, "java": java_complete}


def run(scoring: Scoring, programs: Sequence[Program]) -> tuple[list[Verdict], str]:
    """Verdicts, and the isolation level."""
    if scoring.engine is None:
        raise UsageError("this task runs programs and was given no engine")
    engine = scoring.engine()
    return engine.judge(programs, scoring.progress), engine.level


@dataclass(frozen=True)
class JavaOptions:
    """What a task in Java takes beside the options of all tasks."""

    language_level: int | None = setting(None, minimum=1)
    """Java language level; None is the JDK's own, 8 is the paper's."""


@dataclass(frozen=True, kw_only=True)
class HumanEvalPack(GeneratedTask):
    """164 problems; a sample passes when the problem's tests raise nothing. Subclasses differ in their prompts."""

    language: str

    @classmethod
    def in_all_languages(cls, name: str, title: str) -> tuple[Self, ...]:
        """The task in each language, for instance "humanevalfix-java"."""
        return tuple(
            cls(
                name=f"{name}-{language}",
                title=f"{title}, {TITLES[language]}",
                kind="generation",
                metric="pass@1",
                chance=0.0,
                n_problems=164,
                citation=CITATION,
                language=language,
            )
            for language in TITLES
        )

    @property
    def own_options(self) -> type:
        return JavaOptions if self.language == "java" else Nothing

    def gold_files(self, options: ScoreOptions) -> Sequence[Gold]:
        hub = f"bigcode/humanevalpack:data/{self.language}/data/humanevalpack.jsonl"
        return (Gold(name=f"humanevalpack_{self.language}", fields=FIELDS, hub=hub),)

    def gold(self, scoring: Scoring) -> list[dict[str, Any]]:
        """Rows of HumanEvalPack."""
        (gold,) = self.gold_files(scoring.options)
        return gold.rows(scoring.options)[: scoring.options.limit]

    def program(self, row: dict[str, Any], sample: str, scoring: Scoring) -> Program:
        """The program that decides over one sample."""
        if self.language == "java":
            code = _EMPTY_MAIN.sub("", sample)
            return Program(
                "java", code, "\n\n" + row["test"], level=scoring.options.of(JavaOptions).language_level, limits=LIMITS
            )
        return Program("python", sample, row["test"], preamble=HELPER, limits=LIMITS)

    def score(self, path: Path, scoring: Scoring) -> TaskResult:
        """pass@k over the 164 problems."""
        gold = self.gold(scoring)
        head = "declaration" if "fix" in self.name else "prompt"
        layout = Layout(
            [row["task_id"] for row in gold], ("task_id",), prefixes=[row[head] for row in gold], folded=True
        )
        generations = read_generations(path, layout)
        flat = [(row, text) for row, texts in zip(gold, generations, strict=True) for text in texts]
        verdicts, level = run(scoring, [self.program(row, text, scoring) for row, text in flat])
        return self.result(gold, len(generations[0]), verdicts, level, scoring)

    def result(
        self, gold: list[dict[str, Any]], n: int, verdicts: list[Verdict], level: str, scoring: Scoring
    ) -> TaskResult:
        """Scores of `n` samples a problem."""
        rows = [verdicts[i * n : (i + 1) * n] for i in range(len(gold))]
        failed = sum(not verdict.judged for verdict in verdicts)
        samples = tuple(
            SampleScore(self.name, row["task_id"], number, float(verdict.passed), verdict.verdict)
            for row, group in zip(gold, rows, strict=True)
            for number, verdict in enumerate(group)
        )
        settings: dict[str, Any] = {
            "gold": digest(gold),
            "samples": n,
            "cpu_seconds": LIMITS.cpu_seconds,
        }
        if self.language == "java":
            from astraios.evaluate.execute.java import jdk

            settings["language_level"] = scoring.options.of(JavaOptions).language_level or jdk()[1]
        scores = pass_scores(self.name, [[verdict.passed for verdict in group] for group in rows], failed)
        (file,) = self.gold_files(scoring.options)
        return TaskResult(scores, samples, len(gold), level, settings, file.commit(scoring.options))

    def ask(self, row: dict[str, Any], instruction: str, start: str, beginning: str) -> Prompt:
        """Figure 17 with this instruction.

        Args:
            row: the problem.
            instruction: what is asked.
            start: beginning of the answer, part of the prompt.
            beginning: what goes in front of the stored sample.
        """
        # Without its last line break a prompt ends where the model's tokens do.
        return Prompt(
            item_id=row["task_id"],
            text=f"Question: {instruction}\n\nAnswer:\n{start}".strip(),
            stop=STOPS[self.language],
            complete=COMPLETE[self.language],
            prefix=beginning.rstrip(),
        )

    def finish(self, prompt: Prompt, answer: str) -> str:
        """The program: beginning and answer, cut where the function ends."""
        return prompt.prefix + BODY[self.language](cut(answer.rstrip(), (*prompt.stop, END)))

    def decoding(self) -> Decoding:
        """20 samples at temperature 0.2, 2,048 tokens in all."""
        return Decoding(n_samples=20, temperature=0.2, max_length=2048, answer_tokens=130)
