"""StarCoderBase (Li et al., 2023, arXiv:2305.06161) in the four sizes of the paper.

The architecture is known here, so that planning and counting fetch nothing. With it the trainable parameters of all
28 models of table 1 come out exactly (tests/methods/test_counting.py).
"""

from __future__ import annotations

from typing import Any

from astraios.models.ladders import Rung
from astraios.models.ladders.hub import HubLadder

_SHARED: dict[str, Any] = {
    "model_type": "gpt_bigcode",
    "vocab_size": 49152,
    "n_positions": 8192,
    "activation_function": "gelu_pytorch_tanh",
    "multi_query": True,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

# name: hub id, n_embd, n_layer, n_head
_SIZES = {
    "1B": ("bigcode/starcoderbase-1b", 2048, 24, 16),
    "3B": ("bigcode/starcoderbase-3b", 2816, 36, 22),
    "7B": ("bigcode/starcoderbase-7b", 4096, 42, 32),
    "16B": ("bigcode/starcoderbase", 6144, 40, 48),
}

_ALIASES = {"16B": ("15B",)}
"""What the paper's files call a size that its text calls otherwise."""


def _n_params(width: int, layers: int, heads: int) -> int:
    """Parameters of a rung: embeddings, then per layer one key and value head, biases and two norms, then a norm."""
    head = width // heads
    attention = (width + 1) * (width + 2 * head) + (width + 1) * width
    feed_forward = (width + 1) * 4 * width + (4 * width + 1) * width
    return int(_embeddings(width) + layers * (attention + feed_forward + 4 * width) + 2 * width)


def _embeddings(width: int) -> int:
    """Parameters of the token and position embeddings."""
    return int((_SHARED["vocab_size"] + _SHARED["n_positions"]) * width)


class StarCoderBase(HubLadder):
    """Four sizes of GPTBigCode with multi-query attention; the weights come from the hub."""

    name = "starcoderbase"

    def rungs(self) -> tuple[Rung, ...]:
        return tuple(
            Rung(
                model_id=model_id,
                ladder=self.name,
                name=name,
                aliases=_ALIASES.get(name, ()),
                architecture="GPTBigCodeForCausalLM",
                n_params=_n_params(d, layers, heads),
                n_params_nonembedding=_n_params(d, layers, heads) - _embeddings(d),
                config={**_SHARED, "n_embd": d, "n_layer": layers, "n_head": heads, "n_inner": 4 * d},
            )
            for name, (model_id, d, layers, heads) in _SIZES.items()
        )

    def find(self, model_id: str) -> Rung | None:
        return self._named(model_id)


LADDER = StarCoderBase()
