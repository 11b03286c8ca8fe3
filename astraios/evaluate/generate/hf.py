"""Generation with transformers: rows of equal length, a KV cache, and a random stream of its own for each sample.

Rows of one batch have equally many tokens, so that nothing is padded and positions are right whatever the tuning
method puts in front. A sample's stream depends on the seed, the problem and the sample's number alone: batches,
devices and interruptions change nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import CellError
from astraios.evaluate.generate.requests import Request, encode, stream, until_stop

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

CHECK_EVERY = 8
"""Tokens between two looks for stop strings."""


def choose(logits: Tensor, uniform: np.ndarray, temperature: float, top_p: float) -> Tensor:
    """Next tokens.

    Args:
        logits: shape (rows, vocabulary).
        uniform: one number in [0, 1) a row.
        temperature: 0 takes the largest.
        top_p: only the most likely tokens that together have this probability.
    """
    import torch

    if temperature == 0:
        return logits.argmax(-1)
    probability, order = torch.softmax(logits.double() / temperature, -1).sort(descending=True)
    mass = probability.cumsum(-1)
    kept = torch.where(mass - probability < top_p, probability, 0.0).cumsum(-1)
    target = torch.as_tensor(uniform, device=logits.device, dtype=kept.dtype)[:, None] * kept[:, -1:]
    place = torch.searchsorted(kept, target, right=True).clamp(max=kept.shape[-1] - 1)
    return order.gather(-1, place)[:, 0]


class Generator:
    """A model that answers.

    Args:
        model: causal language model, with or without PEFT.
        tokenizer: its tokenizer.
        max_length: tokens of prompt and answer together.
        temperature: 0 is greedy.
        top_p: share of probability to draw from.
        seed: seed of the streams.
        batch: rows at once.

    Raises:
        CellError: no tokenizer, or a tuning method whose cache this loop does not know.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
        batch: int = 16,
    ) -> None:
        if tokenizer is None:
            raise CellError("generation needs the model's tokenizer, and there is none: name a model that has one")
        self.model, self.tokenizer = model, tokenizer
        self.max_length, self.temperature, self.top_p = max_length, temperature, top_p
        self.seed, self.batch = seed, batch
        config = getattr(model, "active_peft_config", None)
        self.prompted = bool(getattr(config, "is_prompt_learning", False))
        if self.prompted and getattr(config, "peft_type", "") not in ("P_TUNING", "PROMPT_TUNING"):
            raise CellError(f"generation does not know the tuning method {config.peft_type}")  # type: ignore[union-attr]

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[Request, str]]:
        """Answers, a batch at a time; longest prompts first, so that memory runs out at once or not at all."""
        import torch

        encoded = [encode(self.tokenizer, request.text, self.max_length) for request in requests]
        by_length: dict[int, list[int]] = {}
        for index, ids in enumerate(encoded):
            by_length.setdefault(len(ids), []).append(index)
        training = self.model.training
        self.model.eval()
        try:
            for length in sorted(by_length, reverse=True):
                group = by_length[length]
                for start in range(0, len(group), self.batch):
                    rows = group[start : start + self.batch]
                    with torch.inference_mode():
                        answers = self._batch([requests[i] for i in rows], [encoded[i] for i in rows])
                    for index, answer in zip(rows, answers, strict=True):
                        yield requests[index], answer
        finally:
            self.model.train(training)

    def _first(self, ids: Tensor) -> Any:
        """Output for the whole prompt, with what the tuning method puts in front."""
        import torch

        if not self.prompted:
            return self.model(input_ids=ids, use_cache=True)
        front = self.model.get_prompt(batch_size=len(ids))  # (rows, virtual, width)
        words = self.model.word_embeddings(ids)
        return self.model.base_model(inputs_embeds=torch.cat([front.to(words.dtype), words], 1), use_cache=True)

    def _next(self, token: Tensor, cache: Any) -> Any:
        model = self.model.base_model if self.prompted else self.model
        return model(input_ids=token[:, None], past_key_values=cache, use_cache=True)

    def _batch(self, requests: list[Request], prompts: list[list[int]]) -> list[str]:
        import torch

        device = next(self.model.parameters()).device
        ids = torch.tensor(prompts, device=device)
        streams = [stream(self.seed, request.item_id, request.sample) for request in requests]
        end = self.tokenizer.eos_token_id
        tokens: list[list[int]] = [[] for _ in requests]
        open_rows = list(range(len(requests)))
        output = self._first(ids)
        for step in range(self.max_length - ids.shape[1]):
            uniform = np.array([streams[row].random() for row in open_rows])
            chosen = choose(output.logits[:, -1].float(), uniform, self.temperature, self.top_p)
            for row, token in zip(open_rows, chosen.tolist(), strict=True):
                tokens[row].append(token)
            look = (step + 1) % CHECK_EVERY == 0
            keep = [
                place
                for place, row in enumerate(open_rows)
                if tokens[row][-1] != end and not (look and self._stopped(tokens[row], requests[row].stop))
            ]
            if not keep or step + 1 == self.max_length - ids.shape[1]:
                break
            cache = output.past_key_values
            if len(keep) < len(open_rows):
                selected = torch.tensor(keep, device=device)
                cache.batch_select_indices(selected)
                chosen, open_rows = chosen[selected], [open_rows[place] for place in keep]
            output = self._next(chosen, cache)
        return [self._text(row, request.stop) for row, request in zip(tokens, requests, strict=True)]

    def _stopped(self, tokens: list[int], stop: tuple[str, ...]) -> bool:
        text = self.tokenizer.decode(tokens)
        return any(word in text for word in stop)

    def _text(self, tokens: list[int], stop: tuple[str, ...]) -> str:
        """The answer up to the first stop string or the end-of-text token."""
        end = self.tokenizer.eos_token_id
        if end in tokens:
            tokens = tokens[: tokens.index(end)]
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=True))
        return until_stop(text, stop)
