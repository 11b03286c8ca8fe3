"""Generation with vLLM, where it is installed: whole models, and the adapters that it applies by itself (LoRA).

Each sample is a request with a seed of its own, so that batches and interruptions change nothing but rounding; the
numbers drawn are vLLM's, so samples differ from those of `hf`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError, MissingExtraError
from astraios.evaluate.ending import END, through_stop
from astraios.evaluate.generate.requests import Request, encode, stream_seed

if TYPE_CHECKING:
    from astraios.evaluate.tasks import Decoding

CHUNK = 512
"""Requests handed over at once: what an interruption can lose."""
CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Beginnings that change the base's own weights."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Limits of rank that vLLM knows."""


UNKNOWN = (
    "use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias", "layer_replication",
    "target_parameters", "trainable_token_indices",
)  # fmt: skip
"""Settings of PEFT's LoRA that vLLM does not know."""


def unapplied(config: Mapping[str, Any]) -> str | None:
    """What of an adapter vLLM does not apply; None where it applies all of it.

    Args:
        config: content of PEFT's adapter_config.json.
    """
    kind = str(config.get("peft_type")).upper().removeprefix("PEFTTYPE.")
    odd = next((name for name in UNKNOWN if config.get(name)), None)
    if str(config.get("bias", "none")) != "none":
        odd = f"bias = {config['bias']!r}"
    begun = str(config.get("init_lora_weights"))
    if begun.lower().startswith(CHANGES_BASE):
        # Their A and B belong to a base from which a part was taken: on the whole one they give wrong scores.
        odd = f"init_lora_weights = {begun!r}"
    if kind != "LORA":
        return kind
    return f"LoRA with {odd}" if odd else None


def adapter_rank(adapter: Path) -> int:
    """Rank of a LoRA adapter's folder.

    Raises:
        CellError: no adapter there, or one that vLLM does not apply.
    """
    try:
        config = json.loads((adapter / "adapter_config.json").read_text())
    except (OSError, ValueError):
        raise CellError(f"{adapter} holds no adapter: it needs an adapter_config.json that can be read") from None
    if what := unapplied(config):
        raise CellError(f"vLLM does not apply {what} ({adapter}): choose --engine transformers")
    return int(config["r"])


class Server:
    """A model loaded once, for any number of decodings.

    Args:
        model: hub id or folder of a causal language model.
        adapter: folder of a LoRA adapter to put on it.
        seed: of the samples.
        options: more arguments of `vllm.LLM` (tensor_parallel_size, dtype, gpu_memory_utilization, ...).

    Raises:
        MissingExtraError: vLLM is not installed.
        CellError: the adapter is none that vLLM applies, or the model can't be loaded.
    """

    def __init__(self, model: str, adapter: Path | None = None, seed: int = 0, **options: Any) -> None:
        rank = adapter_rank(adapter) if adapter else None
        # torch may have been asked for the GPU by now, and vLLM's own workers must not be forks of such a process.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        try:
            from vllm import LLM
            from vllm.lora.request import LoRARequest
        except ImportError:
            raise MissingExtraError("vllm", "vllm", "--engine vllm") from None
        self.seed = seed
        self.lora = LoRARequest(adapter.name, 1, str(adapter)) if adapter else None
        if rank is not None:
            options = {"enable_lora": True, "max_lora_rank": next((r for r in RANKS if r >= rank), rank), **options}
        try:
            self.model = LLM(model=model, **options)
        except (ValueError, RuntimeError, OSError) as error:
            raise CellError(f"vLLM can't load {model}: {str(error).splitlines()[0]}") from None

    def length(self) -> int:
        """Tokens of the longest sequence that it takes."""
        return int(self.model.llm_engine.model_config.max_model_len)

    def answer(self, decoding: Decoding, requests: Sequence[Request]) -> list[str]:
        """An answer to each request, in order."""
        from vllm import SamplingParams

        tokenizer = self.model.get_tokenizer()
        # vLLM wants room for one token of answer within what the model takes.
        longest = min(decoding.max_length, self.length() - 1)
        prompts = [encode(tokenizer, request.text, longest) for request in requests]
        settings = [
            SamplingParams(
                n=1,
                temperature=decoding.temperature,
                top_p=decoding.top_p if decoding.temperature else 1.0,
                max_tokens=max(1, decoding.max_length - len(ids)),
                stop=list(request.stop),
                include_stop_str_in_output=True,
                seed=stream_seed(self.seed, request.item_id, request.sample),
            )
            for ids, request in zip(prompts, requests, strict=True)
        ]
        answers = self.model.generate(
            [{"prompt_token_ids": ids} for ids in prompts], settings, lora_request=self.lora, use_tqdm=False
        )
        return [
            through_stop(_said(answer.outputs[0]), request.stop)
            for request, answer in zip(requests, answers, strict=True)
        ]

    def generator(self, decoding: Decoding) -> Generator:
        """Answers under a decoding."""
        return Generator(self, decoding)


def _said(output: Any) -> str:
    """The text of one output, with END where the model ended it: vLLM then names no stop text as its reason."""
    ended = output.finish_reason == "stop" and output.stop_reason is None
    return str(output.text) + END * ended


class Generator:
    """A server under one decoding."""

    def __init__(self, server: Server, decoding: Decoding) -> None:
        self.server, self.decoding = server, decoding

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[Request, str]]:
        """Answers, a chunk at a time."""
        for start in range(0, len(requests), CHUNK):
            chunk = requests[start : start + CHUNK]
            yield from zip(chunk, self.server.answer(self.decoding, chunk), strict=True)
