"""Perplexity on held-out text: how surprised is the model by the answers of records that it was not tuned on?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from astraios.evaluate.likelihood import score_tokens
from astraios.evaluate.tasks import Task, TunedModel
from astraios.evaluate.tasks.next_token import encode_records
from astraios.records import SampleScore, Score, TaskResult

Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Perplexity(Task):
    """exp of the mean loss over the answers' tokens; the error is that of a ratio over records, on the log scale.

    The metric nats_per_token is its logarithm; bits_per_byte compares models with different tokenizers.
    """

    def evaluate(self, model: TunedModel) -> TaskResult:
        prompts, sequences = encode_records(model, model.held_out)
        scored = score_tokens(model.model, sequences, model.n_virtual)
        pairs = list(zip(scored, prompts, strict=True))
        losses = np.array([-score.log_probability[n - 1 :].sum() for score, n in pairs])
        tokens = np.array([len(score.log_probability) - n + 1 for score, n in pairs], float)
        size = np.array([
            len(model.tokenizer.decode(ids[n:]).encode()) for ids, n in zip(sequences, prompts, strict=True)
        ], float)  # fmt: skip
        nats, stderr = ratio(losses, tokens)
        bits, bits_error = ratio(losses / math.log(2), size)
        n = len(sequences)
        low, high = (nats - Z95 * stderr, nats + Z95 * stderr) if stderr is not None else (None, None)
        error = None if stderr is None else math.exp(nats) * stderr
        scores = (
            Score(self.name, "perplexity", math.exp(nats), error, _exp(low), _exp(high), n),
            Score(self.name, "nats_per_token", nats, stderr, low, high, n),
            Score(self.name, "bits_per_byte", bits, bits_error, *_around(bits, bits_error), n),
        )
        samples = tuple(
            SampleScore(self.name, str(i), 0, float(loss / count), "scored")
            for i, (loss, count) in enumerate(zip(losses, tokens, strict=True))
        )
        return TaskResult(scores, samples, n, None, {"tokens": int(tokens.sum()), "bytes": int(size.sum())})


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, float | None]:
    """Ratio of sums over records, and its standard error (delta method); None for one record."""
    value = float(numerator.sum() / denominator.sum())
    n = len(numerator)
    if n < 2:
        return value, None
    residual = numerator - value * denominator
    return value, float(math.sqrt(n / (n - 1) * np.sum(residual**2)) / denominator.sum())


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)


def _around(value: float, stderr: float | None) -> tuple[float | None, float | None]:
    return (None, None) if stderr is None else (value - Z95 * stderr, value + Z95 * stderr)


PERPLEXITY = Perplexity(
    name="perplexity",
    title="Perplexity",
    kind="likelihood",
    metric="perplexity",
    chance=None,
    lower_is_better=("perplexity", "nats_per_token", "bits_per_byte"),
)
