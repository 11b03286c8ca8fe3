"""Generation with transformers: rows of equal length, a KV cache, and a random stream of its own for each sample.

Rows that are worked on together have equally many tokens, so that nothing is padded and positions are right whatever
the tuning method puts in front. Rows grow by a token a step, and a prompt that is just as long joins them where a row
has ended: the model is never called for a few late rows while others wait. Samples of one prompt share its pass. A
sample's stream depends on the seed, the problem and the sample's number alone: batches, devices and interruptions
change nothing but rounding.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import CellError
from astraios.evaluate.ending import END, through_stop
from astraios.evaluate.generate.requests import Request, encode, stream

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

CHECK_EVERY = 8
"""Tokens between two looks for stop strings."""
MOST_ROWS = 256
"""Rows at once, where memory allows more."""
FEW_ROWS = 16
"""Rows at once where an architecture does not say what they take."""
PROMPT_TOKENS = 1 << 14
"""Tokens of prompts in one pass."""
CPU_CACHE_BYTES = 2 * 10**9
"""Of the KV cache on a CPU."""
CACHE_SHARE = 0.5
"""Of a GPU's free memory that the KV cache may take."""


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


def row_bytes(config: Any, positions: int, number: int) -> int:
    """Bytes of one row's KV cache.

    Args:
        config: of the model.
        positions: tokens of prompt and answer.
        number: bytes of a number.
    """
    heads = config.num_attention_heads
    shared = 1 if getattr(config, "multi_query", False) else heads
    kept = getattr(config, "num_key_value_heads", None) or shared
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(2 * config.num_hidden_layers * positions * kept * width * number)


def rows_that_fit(model: nn.Module, positions: int) -> int:
    """Rows that a device has memory for, from 1 to `MOST_ROWS`."""
    import torch

    config: Any = model.config
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    if not getattr(config, "num_attention_heads", None):
        # Not an attention's cache: what it takes can't be told.
        return FEW_ROWS
    parameter = next(model.parameters())
    free = float(CPU_CACHE_BYTES)
    if parameter.device.type == "cuda":
        unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        free = CACHE_SHARE * (torch.cuda.mem_get_info()[0] + unused)
    number = parameter.element_size() if parameter.is_floating_point() else 2
    return int(min(MOST_ROWS, max(1, free // row_bytes(config, positions, number))))


@dataclass
class _Row:
    """One answer in the making, for one request or for several that will get the same."""

    requests: list[Request]
    prompt: tuple[int, ...]
    stream: np.random.Generator
    tokens: list[int] = field(default_factory=list)


class Generator:
    """A model that answers.

    Args:
        model: causal language model, with or without PEFT.
        tokenizer: its tokenizer.
        max_length: tokens of prompt and answer together.
        temperature: 0 is greedy.
        top_p: share of probability to draw from.
        seed: seed of the streams.
        batch: rows at once; None: as many as there is memory for.

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
        batch: int | None = None,
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
        """Answers as they are complete."""
        waiting = self._waiting(requests)
        batch = self.batch or rows_that_fit(self.model, self.max_length + 1)
        training = self.model.training
        self.model.eval()
        try:
            while waiting:
                yield from self._from_the_shortest(waiting, batch)
        finally:
            self.model.train(training)

    def _waiting(self, requests: Sequence[Request]) -> dict[int, deque[_Row]]:
        """Rows to be answered by the length of their prompts, those of one prompt beside each other."""
        rows: dict[Any, list[_Row]] = {}
        for request in requests:
            same = rows.setdefault((request.text, request.stop), [])
            if same and self.temperature == 0:
                # Greedy answers to one prompt are one answer.
                same[0].requests.append(request)
                continue
            prompt = same[0].prompt if same else tuple(encode(self.tokenizer, request.text, self.max_length))
            same.append(_Row([request], prompt, stream(self.seed, request.item_id, request.sample)))
        waiting: dict[int, deque[_Row]] = {}
        for same in rows.values():
            waiting.setdefault(len(same[0].prompt), deque()).extend(same)
        return waiting

    def _from_the_shortest(self, waiting: dict[int, deque[_Row]], batch: int) -> Iterator[tuple[Request, str]]:
        """Answers from the shortest prompts on, until no row is left to go on with; what finds no room waits."""
        import torch

        length = min(waiting)
        rows: list[_Row] = []
        logits: Any = None
        cache: Any = None
        while True:
            joining = _take(waiting, length, batch - len(rows)) if cache is None or _can_join(cache) else []
            with torch.inference_mode():
                if joining:
                    logits, cache = self._joined(logits, cache, *self._started(joining))
                    rows = rows + joining
                chosen: Any = self._chosen(logits, rows)
                length += 1
                keep = [place for place, row in enumerate(rows) if length < self.max_length and self._is_open(row)]
            ended = set(range(len(rows))) - set(keep)
            for place in sorted(ended):
                text = self._text(rows[place])
                for request in rows[place].requests:
                    yield request, text
            rows = [rows[place] for place in keep]
            if not rows:
                return
            with torch.inference_mode():
                if ended:
                    selected = torch.tensor(keep, device=chosen.device)
                    cache.batch_select_indices(selected)
                    chosen = chosen[selected]
                output = self._next(chosen, cache)
                logits, cache = output.logits[:, -1], output.past_key_values

    def _started(self, rows: list[_Row]) -> tuple[Tensor, Any]:
        """Logits behind the prompts, shape (rows, vocabulary), and their cache; each prompt is read once."""
        import torch

        device = next(self.model.parameters()).device
        prompts = list(dict.fromkeys(row.prompt for row in rows))
        each = max(1, PROMPT_TOKENS // len(prompts[0]))
        logits: Any = None
        cache: Any = None
        for start in range(0, len(prompts), each):
            output = self._first(torch.tensor(prompts[start : start + each], device=device))
            logits, cache = self._joined(logits, cache, output.logits[:, -1], output.past_key_values)
        places = {prompt: place for place, prompt in enumerate(prompts)}
        wanted = torch.tensor([places[row.prompt] for row in rows], device=device)
        if len(prompts) < len(rows):
            cache.batch_select_indices(wanted)
        return logits[wanted], cache

    def _joined(self, logits: Any, cache: Any, more: Tensor, its: Any) -> tuple[Tensor, Any]:
        """The rows of both; they are of one length."""
        import torch

        if logits is None:
            return more, its
        for mine, theirs in zip(cache.layers, its.layers, strict=True):
            mine.keys, mine.values = torch.cat([mine.keys, theirs.keys]), torch.cat([mine.values, theirs.values])
        return torch.cat([logits, more]), cache

    def _chosen(self, logits: Any, rows: list[_Row]) -> Any:
        """Next tokens, which the rows now have."""
        uniform = np.array([row.stream.random() for row in rows])
        chosen = choose(logits.float(), uniform, self.temperature, self.top_p)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            row.tokens.append(token)
        return chosen

    def _first(self, ids: Tensor) -> Any:
        """Output for the whole prompt, with what the tuning method puts in front."""
        import torch

        if not self.prompted:
            return self.model(input_ids=ids, use_cache=True, **self._last_alone(self.model))
        front = self.model.get_prompt(batch_size=len(ids))  # (rows, virtual, width)
        words = self.model.word_embeddings(ids)
        both = torch.cat([front.to(words.dtype), words], 1)
        return self.model.base_model(inputs_embeds=both, use_cache=True, **self._last_alone(self.model.base_model))

    def _last_alone(self, model: Any) -> dict[str, int]:
        """Asks for the last token's logits alone, where the architecture can: those of a prompt take gigabytes."""
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        known = "logits_to_keep" in inspect.signature(base.forward).parameters
        return {"logits_to_keep": 1} if known else {}

    def _next(self, token: Tensor, cache: Any) -> Any:
        model = self.model.base_model if self.prompted else self.model
        return model(input_ids=token[:, None], past_key_values=cache, use_cache=True)

    def _is_open(self, row: _Row) -> bool:
        """Whether the answer goes on; stop strings are looked for now and then."""
        if row.tokens and row.tokens[-1] == self.tokenizer.eos_token_id:
            return False
        if len(row.tokens) % CHECK_EVERY:
            return True
        text, asked = self.tokenizer.decode(row.tokens), row.requests[0]
        return not (any(word in text for word in asked.stop) or (asked.complete and asked.complete(text)))

    def _text(self, row: _Row) -> str:
        """The answer through the first stop text, or END where the model ended it."""
        end, tokens = self.tokenizer.eos_token_id, row.tokens
        ended = end in tokens
        if ended:
            tokens = tokens[: tokens.index(end)]
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=True))
        return through_stop(text + END * ended, row.requests[0].stop)


def _take(waiting: dict[int, deque[_Row]], length: int, room: int) -> list[_Row]:
    """Rows whose prompts have this length, as far as there is room."""
    queue = waiting.get(length, deque())
    taken = [queue.popleft() for _ in range(min(room, len(queue)))]
    if taken and not queue:
        del waiting[length]
    return taken


def _can_join(cache: Any) -> bool:
    """Whether rows can be put beside those of a cache: not where layers hold other things than keys and values."""
    from transformers.cache_utils import DynamicIndexedLayer, DynamicLayer

    layers = getattr(cache, "layers", ())
    return bool(layers) and all(isinstance(x, DynamicLayer) and not isinstance(x, DynamicIndexedLayer) for x in layers)
