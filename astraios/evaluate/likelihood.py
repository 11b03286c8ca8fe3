"""What a model thinks of given text: log-probabilities of tokens, without generating anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class TokenScores:
    """Next-token scores of one sequence of length L: arrays of length L - 1, entry i about token i + 1."""

    log_probability: np.ndarray
    """Of the token that stands there, nats."""
    is_argmax: np.ndarray
    """Whether it is the model's first choice."""


def score_tokens(model: nn.Module, sequences: Sequence[Sequence[int]], n_virtual: int = 0) -> list[TokenScores]:
    """Scores of every token of every sequence.

    Sequences are padded on the right, where causal attention makes padding harmless for every method, virtual tokens
    included.

    Args:
        model: causal language model.
        sequences: token ids; each at least two long.
        n_virtual: positions that the tuning method puts in front of the logits.
    """
    import torch

    device = next(model.parameters()).device
    model.eval()
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    found: dict[int, TokenScores] = {}
    with torch.inference_mode():
        for rows in _batches(order, [len(s) for s in sequences]):
            longest = max(len(sequences[i]) for i in rows)
            ids = torch.zeros((len(rows), longest), dtype=torch.int64)
            for line, i in enumerate(rows):
                ids[line, : len(sequences[i])] = torch.tensor(sequences[i])
            ids = ids.to(device)
            logits = model(input_ids=ids).logits[:, n_virtual:-1]  # (rows, longest - 1, vocabulary)
            for line, i in enumerate(rows):
                # A sequence at a time in float32: all of them would be several times the logits.
                n = len(sequences[i]) - 1
                own, targets = logits[line, :n].float(), ids[line, 1 : n + 1]
                chosen = own.gather(-1, targets[:, None])[:, 0] - own.logsumexp(-1)
                first = own.argmax(-1) == targets
                found[i] = TokenScores(chosen.cpu().numpy().astype(float), first.cpu().numpy())
    return [found[i] for i in range(len(sequences))]


def _batches(order: list[int], lengths: list[int]) -> list[list[int]]:
    batches: list[list[int]] = []
    for i in order:
        if batches and lengths[i] * (len(batches[-1]) + 1) <= TOKENS_PER_BATCH:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
