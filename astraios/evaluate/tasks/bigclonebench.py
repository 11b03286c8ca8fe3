"""Clone detection: do these two Java functions do the same?

Example:
    Question: Code 1: int a() { ... }
    .
    Code 2: int b() { ... }
    Is there a clone relation between the Code1 and Code2, and respond to YES or NO.

    Answer: No
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from astraios.errors import DataError
from astraios.evaluate.tasks import Decoding, Prompt, Scoring
from astraios.evaluate.tasks._answers import INVALID, QuestionTask, after_answer, verdict, yes_or_no
from astraios.evaluate.tasks._estimate import bootstrap, share
from astraios.evaluate.tasks._files import ANSWERS, Layout, digest, gold_rows, read_generations
from astraios.records import SampleScore, Score, TaskResult

QUESTION = "Is there a clone relation between the Code1 and Code2, and respond to YES or NO."
YES = ("there is a", "ere is a")
NO = ("there is no",)


def macro_f1(true: ArrayLike, said: ArrayLike) -> float:
    """Mean F1 over the labels that occur in either; an invalid answer is a label of its own (the paper's "F1")."""
    t, s = np.asarray(true), np.asarray(said)
    scores = []
    for label in np.union1d(t, s):
        hits = int(np.sum((t == label) & (s == label)))
        scores.append(2 * hits / (int(np.sum(t == label)) + int(np.sum(s == label))))
    return float(np.mean(scores))


@dataclass(frozen=True, kw_only=True)
class BigCloneBench(QuestionTask):
    """Macro F1 over yes, no and invalid.

    The gold file bigclonebench holds id and label, func1 and func2 for generating; where it marks rows with
    in_paper_sample (274 clones and 1,726 others), only those are scored.
    """

    def gold(self, scoring: Scoring) -> list[dict[str, Any]]:
        """Rows with id and label."""
        rows = gold_rows("bigclonebench", scoring.options, ("id", "label"))
        return [{**row, "label": int(row["label"])} for row in rows[: scoring.options.limit]]

    def score(self, path: Path, scoring: Scoring) -> TaskResult:
        """Macro F1, and accuracy."""
        gold = self.gold(scoring)
        layout = Layout([str(row["id"]) for row in gold], ("id", "ID", "idx"), n_samples=1, texts=ANSWERS)
        said = [yes_or_no(after_answer(text), YES, NO) for (text,) in read_generations(path, layout)]
        scored = [i for i, row in enumerate(gold) if row.get("in_paper_sample", True)]
        pairs = np.array([(gold[i]["label"], said[i]) for i in scored])
        stderr, low, high = bootstrap(pairs, lambda rows: macro_f1(rows[:, 0], rows[:, 1]))
        invalid, shots = sum(said[i] == INVALID for i in scored), self.n_shot(scoring.options)
        value = macro_f1(pairs[:, 0], pairs[:, 1])
        scores = (
            Score(self.name, "f1_macro", value, stderr, low, high, len(scored), invalid, shots),
            share(self.name, "accuracy", list(pairs[:, 0] == pairs[:, 1]), n_failed=invalid, n_shot=shots),
        )
        samples = tuple(
            SampleScore(self.name, str(row["id"]), 0, float(word == row["label"]), verdict(word, row["label"]), shots)
            for row, word in zip(gold, said, strict=True)
        )
        settings = {"gold": digest([{"id": row["id"], "label": row["label"]} for row in gold])}
        return TaskResult(scores, samples, len(scored), None, settings)

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """Figure 16."""
        rows = self.gold(scoring)
        if "func1" not in rows[0]:
            raise DataError("bigclonebench: the gold data hold no functions (func1, func2) to generate from")
        shot = ""
        if self.n_shot(scoring.options):
            row = gold_rows("bigclonebench_shot", scoring.options, ("func1", "func2", "label"))[0]
            shot = self._question(row) + f" {'Yes' if int(row['label']) else 'No'}\n\n"
        return [Prompt(item_id=str(row["id"]), text=shot + self._question(row), stop=("\n",)) for row in rows]

    def _question(self, row: dict[str, Any]) -> str:
        return f"Question: Code 1: {row['func1']}\n.\nCode 2: {row['func2']}\n{QUESTION}\n\nAnswer:"

    def decoding(self) -> Decoding:
        """Greedy, 512 tokens in all."""
        return Decoding(max_length=512)


BIGCLONEBENCH = BigCloneBench(
    name="bigclonebench",
    id_key="id",
    title="Clone detection",
    kind="comprehension",
    metric="f1_macro",
    chance=None,
    citation="Svajlenko and Roy, 2021, BigCloneBench; ASTRAIOS table 2",
)
