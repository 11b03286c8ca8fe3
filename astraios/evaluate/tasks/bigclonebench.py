"""Clone detection: do these two Java functions do the same?

Example (the authors' harness; the paper's figure 16 prints it otherwise, docs/evaluation.md):
    Question: Code1: int a() { ... }.
    Code2: int b() { ... }.
    Is there a clone relation between the Code1 and Code2, and respond to YES or NO.

    Answer: No
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from astraios.errors import DataError
from astraios.evaluate.options import ScoreOptions
from astraios.evaluate.tasks import Prompt, Scoring
from astraios.evaluate.tasks._answers import INVALID, QuestionTask, after_answer, verdict, yes_or_no
from astraios.evaluate.tasks._estimate import bootstrap, share
from astraios.evaluate.tasks._files import ANSWERS, Layout, read_generations
from astraios.evaluate.tasks._gold import Gold, digest
from astraios.records import SampleScore, Score, TaskResult

QUESTION = "Is there a clone relation between the Code1 and Code2, and respond to YES or NO."
YES = ("there is a", "ere is a")
NO = ("there is no",)
HUB = "google/code_x_glue_cc_clone_detection_big_clone_bench:data/{split}-*.parquet"
TEST = Gold(name="bigclonebench", fields=("id", "label"), hub=HUB.format(split="test"))
TRAIN = Gold(name="bigclonebench_train", fields=("func1", "func2", "label"), hub=HUB.format(split="train"))
OTHERS, CLONES = 1726, 1000
"""Pairs that the authors' harness draws from the test split."""
SCORED_CLONES = 274
"""Of those clones the ones that the paper scores, beside all others: 2,000 pairs."""


def drawn(labels: Sequence[int]) -> list[int]:
    """Rows of the whole test split that the authors' harness asks about, in its order; seed 0 throughout.

    >>> len(drawn([0] * 2000 + [1] * 2000)), drawn([0, 1])
    (2726, [0, 1])
    """
    rng = random.Random(0)
    others, clones = ([row for row, label in enumerate(labels) if label == wanted] for wanted in (0, 1))
    if len(others) < OTHERS or len(clones) < CLONES:
        return list(range(len(labels)))
    chosen = [others[place] for place in rng.sample(range(len(others)), OTHERS)]
    chosen += [clones[place] for place in rng.sample(range(len(clones)), CLONES)]
    return [chosen[place] for place in np.random.default_rng(0).permutation(len(chosen))]


def paper_sample(labels: Sequence[int]) -> list[bool]:
    """Which of the 2,726 pairs the paper scored; all, where they are others."""
    rng = random.Random(0)
    clones = [row for row, label in enumerate(labels) if label == 1]
    if (len(labels) - len(clones), len(clones)) != (OTHERS, CLONES):
        return [True] * len(labels)
    rng.sample(range(OTHERS), OTHERS)  # the harness draws all others first, from the same stream
    left_out = set(clones) - {clones[place] for place in rng.sample(range(CLONES), SCORED_CLONES)}
    return [row not in left_out for row in range(len(labels))]


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

    The gold file bigclonebench holds id and label, func1 and func2 for generating. Of the whole test split the rows
    count that the authors drew; where a file marks rows with in_paper_sample, those are scored.
    """

    def gold_files(self, options: ScoreOptions) -> Sequence[Gold]:
        return (TEST, self.train) if self.n_shot(options) else (TEST,)

    def gold(self, scoring: Scoring) -> list[dict[str, Any]]:
        """Rows with id, label and whether the paper scored them."""
        rows = TEST.rows(scoring.options)
        if "in_paper_sample" not in rows[0]:
            rows = [rows[place] for place in drawn([int(row["label"]) for row in rows])]
        labels = [int(row["label"]) for row in rows]
        return [
            {**row, "label": label, "scored": bool(row.get("in_paper_sample", chosen))}
            for row, label, chosen in zip(rows, labels, paper_sample(labels), strict=True)
        ][: scoring.options.limit]

    def score(self, path: Path, scoring: Scoring) -> TaskResult:
        """Macro F1, and accuracy."""
        gold = self.gold(scoring)
        layout = Layout([str(row["id"]) for row in gold], ("id", "ID", "idx"), n_samples=1, texts=ANSWERS)
        said = [yes_or_no(after_answer(text), YES, NO) for (text,) in read_generations(path, layout)]
        scored = [i for i, row in enumerate(gold) if row["scored"]]
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
        return TaskResult(scores, samples, len(scored), None, settings, TEST.commit(scoring.options))

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """The question of the authors' harness about each pair."""
        rows = self.gold(scoring)
        if "func1" not in rows[0]:
            raise DataError("bigclonebench: the gold data hold no functions (func1, func2) to generate from")
        shot = self.demonstration(scoring.options)
        return [self.prompt(row, self.asked(row, shot)) for row in rows]

    def question(self, row: Mapping[str, Any]) -> str:
        return f"Question: Code1: {row['func1']}.\nCode2: {row['func2']}.\n{QUESTION}\n\nAnswer:"

    def label(self, row: Mapping[str, Any]) -> int:
        return int(row["label"])


BIGCLONEBENCH = BigCloneBench(
    name="bigclonebench",
    id_key="id",
    title="Clone detection",
    kind="comprehension",
    metric="f1_macro",
    chance=None,
    n_problems=OTHERS + CLONES,
    citation="Svajlenko and Roy, 2021, BigCloneBench; ASTRAIOS table 2",
    train=TRAIN,
)
