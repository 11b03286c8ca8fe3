"""Defect detection: does this C function have a defect?

Example:
    Question: static int decode(...) { ... }
    Is there a defect in the Code, and respond to YES or NO.

    Answer: Yes
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.evaluate.tasks import Decoding, Prompt, Scoring
from astraios.evaluate.tasks._answers import INVALID, QuestionTask, after_answer, verdict, yes_or_no
from astraios.evaluate.tasks._estimate import share
from astraios.evaluate.tasks._files import ANSWERS, Layout, digest, gold_commit, gold_rows, read_generations
from astraios.records import SampleScore, TaskResult

QUESTION = "Is there a defect in the Code, and respond to YES or NO."
YES = ("there is a", "ere is a", "has a defect", "contains a defect")
NO = ("there is no defect",)
HUB = "google/code_x_glue_cc_defect_detection:data/test-00000-of-00001.parquet"


def paper_sample(labels: Sequence[int]) -> list[bool]:
    """Which rows the paper scored: 1,081 without and 919 with a defect, drawn with seed 0 (all, if there are fewer)."""
    rng = random.Random(0)
    chosen: set[int] = set()
    for label, count in ((0, 1081), (1, 919)):
        rows = [index for index, value in enumerate(labels) if value == label]
        if len(rows) < count:
            return [True] * len(labels)
        chosen.update(rows[place] for place in rng.sample(range(len(rows)), count))
    return [index in chosen for index in range(len(labels))]


@dataclass(frozen=True, kw_only=True)
class Devign(QuestionTask):
    """Accuracy on the paper's 2,000 rows; an answer that is neither yes nor no is wrong."""

    def _gold_name(self, scoring: Scoring) -> str:
        return "defect_1shot_gold" if self.n_shot(scoring.options) else "defect_gold"

    def gold(self, scoring: Scoring) -> list[dict[str, Any]]:
        """Rows with id, label and whether the paper scored them."""
        name = self._gold_name(scoring)
        rows = gold_rows(name, scoring.options, ("id",), HUB)
        key = next((key for key in ("true_label", "label", "target") if key in rows[0]), None)
        if key is None:
            raise DataError(f"gold data {name}: rows have no true_label, label or target")
        labels = [int(row[key]) for row in rows]
        sampled = paper_sample(labels)
        return [
            {**row, "label": label, "scored": bool(row.get("in_paper_sample", chosen))}
            for row, label, chosen in zip(rows, labels, sampled, strict=True)
        ][: scoring.options.limit]

    def score(self, path: Path, scoring: Scoring) -> TaskResult:
        """Accuracy, and the same over all rows."""
        gold = self.gold(scoring)
        layout = Layout([str(row["id"]) for row in gold], ("id", "ID", "idx"), n_samples=1, texts=ANSWERS)
        answers = [after_answer(text) for (text,) in read_generations(path, layout)]
        said = [yes_or_no(answer, YES, NO) for answer in answers]
        right = [value == row["label"] for value, row in zip(said, gold, strict=True)]
        invalid = [value == INVALID for value in said]
        scored = [index for index, row in enumerate(gold) if row["scored"]]
        shots, missed = self.n_shot(scoring.options), sum(invalid[i] for i in scored)
        scores = (
            share(self.name, "accuracy", [right[i] for i in scored], n_failed=missed, n_shot=shots),
            share(self.name, "accuracy_all_rows", right, n_failed=sum(invalid), n_shot=shots),
        )
        samples = tuple(
            SampleScore(self.name, str(row["id"]), 0, float(good), verdict(word, row["label"]), shots)
            for row, good, word in zip(gold, right, said, strict=True)
        )
        settings = {"gold": digest([{"id": row["id"], "label": row["label"]} for row in gold]), "rows": "paper sample"}
        came = gold_commit(self._gold_name(scoring), scoring.options, HUB)
        return TaskResult(scores, samples, len(scored), None, settings, came)

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """Figure 15. Needs gold rows that hold the whole function (`func`)."""
        rows = self.gold(scoring)
        if "func" not in rows[0]:
            raise DataError(
                "devign: these gold data hold no functions, only what a score needs; generate from the hub's"
            )
        shot = self.demonstration(scoring)
        return [
            Prompt(item_id=str(row["id"]), text=f"{shot}Question: {row['func']}\n{QUESTION}\n\nAnswer:", stop=("\n",))
            for row in rows
        ]

    def demonstration(self, scoring: Scoring) -> str:
        """The worked example of a one-shot prompt: the gold folder's file devign_shot (`func`, `target`)."""
        if not self.n_shot(scoring.options):
            return ""
        row = gold_rows("devign_shot", scoring.options, ("func", "target"))[0]
        return f"Question: {row['func']}\n{QUESTION}\n\nAnswer: {'Yes' if int(row['target']) else 'No'}\n\n"

    def decoding(self) -> Decoding:
        """Greedy, 512 tokens in all."""
        return Decoding(max_length=512)


DEVIGN = Devign(
    name="devign",
    id_key="id",
    title="Defect detection",
    kind="comprehension",
    metric="accuracy",
    chance=0.5,
    citation="Zhou et al., 2019, Devign; ASTRAIOS table 2",
)
