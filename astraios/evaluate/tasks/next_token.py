"""Next-token accuracy on held-out answers: how often the model's first choice is the token that stands there.

Teacher-forced over the answers of the data's test records, for instance the definition line and body of a function
whose docstring was asked for. Chance is not a constant of the task: it is what always naming the answers' most
frequent token would score, and comes with the result as the metric `majority_accuracy`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.data.packing import prompt_text, token_ids
from astraios.data.sources import Record
from astraios.errors import CellError
from astraios.evaluate.likelihood import score_tokens
from astraios.evaluate.tasks import Task, TunedModel
from astraios.records import SampleScore, Score, TaskResult

ITEMS = 400
Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class NextToken(Task):
    """Accuracy over tokens, its error over records (tokens of one record are one cluster)."""

    def evaluate(self, model: TunedModel) -> TaskResult:
        prompts, sequences = encode_records(model, model.held_out[:ITEMS])
        scores = score_tokens(model.model, sequences, model.n_virtual)
        hits = np.array([s.is_argmax[n - 1 :].sum() for s, n in zip(scores, prompts, strict=True)], float)
        sizes = np.array([len(s.is_argmax) - n + 1 for s, n in zip(scores, prompts, strict=True)], float)
        answers = [tuple(ids[n:]) for ids, n in zip(sequences, prompts, strict=True)]
        most_common = Counter(token for answer in answers for token in answer).most_common(1)[0][0]
        majority = np.array([answer.count(most_common) for answer in answers], float)
        return TaskResult(
            scores=(
                ratio_score(self.name, "accuracy", hits, sizes),
                ratio_score(self.name, "majority_accuracy", majority, sizes),
            ),
            samples=tuple(
                SampleScore(self.name, str(i), 0, hit / size, "scored")
                for i, (hit, size) in enumerate(zip(hits.tolist(), sizes.tolist(), strict=True))
            ),
            n_items=len(sequences),
        )


def encode_records(model: TunedModel, records: Sequence[Record]) -> tuple[list[int], list[list[int]]]:
    """Token counts of the prompts and token ids of prompt + answer, cut to what the model reads.

    Records whose prompt fills all of it are left out.

    Raises:
        CellError: none is left.
    """
    lengths, sequences = [], []
    for record in records:
        [head] = token_ids(model.data, [prompt_text(model.data, record, model.tokenizer)], model.tokenizer)
        answer = model.tokenizer(record.completion, add_special_tokens=False)["input_ids"]
        ids = (head + answer)[: model.n_positions]
        if len(ids) > len(head) + 1:
            lengths.append(len(head))
            sequences.append(ids)
    if not sequences:
        raise CellError("no held-out record fits the model's positions: give the data a test split of shorter records")
    return lengths, sequences


def ratio_score(task_id: str, metric: str, hits: np.ndarray, sizes: np.ndarray) -> Score:
    """Sum of hits over sum of sizes, with the linearised standard error of a ratio over clusters.

    Args:
        hits: per cluster, shape (n,).
        sizes: per cluster, shape (n,).
    """
    n = len(hits)
    value = hits.sum() / sizes.sum()
    stderr = np.sqrt(((hits - value * sizes) ** 2).sum() * n / max(1, n - 1)) / sizes.sum()
    return Score(
        task_id, metric, float(value), float(stderr), float(value - Z95 * stderr), float(value + Z95 * stderr), n
    )


next_token = NextToken(
    name="next-token",
    title="Next-token accuracy",
    kind="likelihood",
    metric="accuracy",
    chance=None,
)
