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
            logits = model(input_ids=ids).logits[:, n_virtual:-1].float()  # (rows, longest - 1, vocabulary)
            targets = ids[:, 1:]
            chosen = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0].cpu().numpy()
            first = (logits.argmax(-1) == targets).cpu().numpy()
            for line, i in enumerate(rows):
                n = len(sequences[i]) - 1
                found[i] = TokenScores(chosen[line, :n].astype(float), first[line, :n])
    return [found[i] for i in range(len(sequences))]


def _batches(order: list[int], lengths: list[int]) -> list[list[int]]:
    batches: list[list[int]] = []
    for i in order:
        if batches and lengths[i] * (len(batches[-1]) + 1) <= TOKENS_PER_BATCH:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
