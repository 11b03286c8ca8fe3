"""What engines are asked for: single samples, each with a random stream of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Request:
    """One sample that is wanted."""

    item_id: str
    sample: int
    text: str
    """The prompt."""
    stop: tuple[str, ...] = ()
    """The answer is complete when it holds one of these."""
    complete: Callable[[str], bool] | None = None
    """Or when this says so; a function of a module, because requests travel between machines."""


class Generates(Protocol):
    """What answers requests: a model behind an inference engine."""

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[Request, str]]:
        """Answers as they come, in any order; each is kept at once by whoever asked."""
        ...


def stream(seed: int, item_id: str, sample: int) -> np.random.Generator:
    """The random numbers of one sample."""
    return np.random.Generator(np.random.Philox(key=_key(seed, item_id, sample)))


def stream_seed(seed: int, item_id: str, sample: int) -> int:
    """The same as a number of 31 bits, for engines that draw themselves."""
    return _key(seed, item_id, sample) & 0x7FFF_FFFF


def _key(seed: int, item_id: str, sample: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{item_id}/{sample}".encode()).digest()[:16], "big")


def encode(tokenizer: PreTrainedTokenizerBase, text: str, max_length: int) -> list[int]:
    """Tokens of a prompt, the last `max_length` of them: one token of answer follows even then.

    What the tokenizer puts in front of every text stays in front (Llama's and Gemma's begin-of-text): models have
    never read without it. What some put behind is left out, because the answer goes there.
    """
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    whole = list(tokenizer(text)["input_ids"])
    begin = whole[: next((i for i in range(len(whole)) if whole[i : i + len(ids)] == ids), 0)]
    room = max(1, max_length - len(begin))
    return begin + ids[-room:] or [tokenizer.eos_token_id or 0]
