"""Defect detection: does this C function have a defect?

Example:
    Question: static int decode(...) { ... }
    Is there a defect in the Code, and respond to YES or NO.

    Answer: Yes
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.evaluate.options import ScoreOptions
from astraios.evaluate.tasks import Prompt, Scoring
from astraios.evaluate.tasks._answers import INVALID, QuestionTask, after_answer, verdict, yes_or_no
from astraios.evaluate.tasks._estimate import share
from astraios.evaluate.tasks._files import ANSWERS, Layout, read_generations
from astraios.evaluate.tasks._gold import Gold, digest
from astraios.records import SampleScore, TaskResult

QUESTION = "Is there a defect in the Code, and respond to YES or NO."
YES = ("there is a", "ere is a", "has a defect", "contains a defect")
NO = ("there is no defect",)
HUB = "google/code_x_glue_cc_defect_detection:data/{split}-00000-of-00001.parquet"
TEST = Gold(name="devign", fields=("id", "func"), hub=HUB.format(split="test"))
TRAIN = Gold(name="devign_train", fields=("func", "target"), hub=HUB.format(split="train"))
RELEASED = {
    0: Gold(name="defect_gold", fields=("id", "true_label", "prompt_tail")),
    1: Gold(name="defect_1shot_gold", fields=("id", "true_label", "prompt_tail")),
}
"""Prompts as the released texts echo them, by demonstrations: what the paper's models read, 512 tokens at most."""
N_TEST = 2732
ENDS = "fa0f86665e23595a2acb9900cae742fe7b5a388329ba91292a6d5bfa84c3b720"
"""Hash of id, label and the last 200 characters of each function of the test split, as the released texts echo them."""


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


def label_of(row: Mapping[str, Any]) -> int:
    """1 where the function has a defect.

    Raises:
        DataError: the row does not say.
    """
    key = next((key for key in ("true_label", "label", "target") if key in row), None)
    if key is None:
        raise DataError("gold data of devign: rows have no true_label, label or target")
    return int(row[key])


def ends(rows: Iterable[Mapping[str, Any]]) -> str:
    """The hash that `ENDS` is: of rows with `id`, a label and `func`."""
    whole = hashlib.sha256()
    for row in rows:
        whole.update(json.dumps([int(row["id"]), label_of(row), row["func"][-200:]]).encode())
    return whole.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Devign(QuestionTask):
    """Accuracy on the paper's 2,000 rows; an answer that is neither yes nor no is wrong."""

    def gold_files(self, options: ScoreOptions) -> Sequence[Gold]:
        """The functions; else, from a folder that has them, the prompts as they were released."""
        released = RELEASED[self.n_shot(options)]
        if TEST.find(options.data_dir) is None and released.find(options.data_dir) is not None:
            return (released,)
        return (TEST, self.train) if self.n_shot(options) else (TEST,)

    def gold(self, scoring: Scoring) -> list[dict[str, Any]]:
        """Rows with id, label and whether the paper scored them."""
        file = self.gold_files(scoring.options)[0]
        rows = file.rows(scoring.options)
        if file is TEST and len(rows) == N_TEST and ends(rows) != ENDS:
            raise DataError(
                "gold data devign: 2,732 rows, but not those that the paper's models were asked about: get the test "
                f"split of {TEST.hub}, in its own order"
            )
        labels = [label_of(row) for row in rows]
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
        came = self.gold_files(scoring.options)[0].commit(scoring.options)
        return TaskResult(scores, samples, len(scored), None, settings, came)

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """Figure 15, from whole functions; else as the released texts echo it."""
        rows = self.gold(scoring)
        if rows and "func" not in rows[0]:
            return [self.prompt(row, row["prompt_tail"]) for row in rows]
        shot = self.demonstration(scoring.options)
        return [self.prompt(row, self.asked(row, shot)) for row in rows]

    def prompt_facts(self, scoring: Scoring) -> Mapping[str, Any]:
        """Whether the prompts hold whole functions, and which demonstration was drawn."""
        if self.gold_files(scoring.options)[0] is TEST:
            return {"prompts": "whole functions", **super().prompt_facts(scoring)}
        return {"prompts": "as released, the last 512 tokens of StarCoder's"}

    def question(self, row: Mapping[str, Any]) -> str:
        """Figure 15."""
        return f"Question: {row['func']}\n{QUESTION}\n\nAnswer:"

    def label(self, row: Mapping[str, Any]) -> int:
        return label_of(row)


DEVIGN = Devign(
    name="devign",
    id_key="id",
    title="Defect detection",
    kind="comprehension",
    metric="accuracy",
    chance=0.5,
    n_problems=N_TEST,
    citation="Zhou et al., 2019, Devign; ASTRAIOS table 2",
    train=TRAIN,
)
