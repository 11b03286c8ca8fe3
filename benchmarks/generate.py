"""Steps of generation: how often the model is called, and for how many rows, for 164 problems with 20 samples each.

Prompts are HumanEval's lengths in tokens of a byte-level tokenizer cut to a sixth, the model a random one of two layers;
answers end at a stop string or at the limit. "before" counts what batches of 16 rows of equal length took that were
not refilled and read each prompt once a sample, from the same answers. `python benchmarks/generate.py`
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM, PreTrainedTokenizerFast

from astraios.evaluate.generate.hf import Generator
from astraios.evaluate.generate.requests import Request

PROBLEMS, SAMPLES, BEFORE = 164, 20, 16
LENGTH = 250


def tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({"<|endoftext|>": 0, **{letter: i + 1 for i, letter in enumerate(letters)}}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>")


def model() -> GPTBigCodeForCausalLM:
    """Two layers of random weights."""
    torch.manual_seed(0)
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
    return GPTBigCodeForCausalLM(GPTBigCodeConfig(vocab_size=257, bos_token_id=0, eos_token_id=0, **shape)).eval()


def requests() -> list[Request]:
    """Prompts of 20 to 90 tokens, as HumanEval's spread (a mean of about 50 here)."""
    draw = random.Random(0)
    texts = ["def f(x):" + "".join(draw.choices("abcdefgh ", k=draw.randint(11, 81))) for _ in range(PROBLEMS)]
    return [
        Request(str(i), sample, text, ("\n", "q", "}")) for i, text in enumerate(texts) for sample in range(SAMPLES)
    ]


class Counted:
    """Counts what a model is called with."""

    def __init__(self, counted: Any) -> None:
        self.calls = self.rows = self.prompt_tokens = 0
        counted.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module: Any, given: Any, named: dict[str, Any]) -> None:
        rows, length = named["input_ids"].shape
        self.calls += 1
        self.rows += rows
        self.prompt_tokens += rows * length if length > 1 else 0


def steps_before(asked: list[Request], tokens: dict[tuple[str, int], int]) -> tuple[int, int, int]:
    """Calls, row-steps of batches that stay as wide as they began, and tokens of prompts, as it was before."""
    by_length: dict[int, list[Request]] = {}
    for request in asked:
        by_length.setdefault(len(request.text), []).append(request)
    calls = slots = 0
    for same in by_length.values():
        for start in range(0, len(same), BEFORE):
            batch = same[start : start + BEFORE]
            steps = max(tokens[r.item_id, r.sample] for r in batch)
            calls, slots = calls + steps, slots + steps * BEFORE
    return calls, slots, sum(len(request.text) for request in asked)


def measure(temperature: float, batch: int | None) -> dict[str, Any]:
    """Counts of one run beside those of before, and the answers."""
    net, words, asked = model(), tokenizer(), requests()
    count, start = Counted(net), time.process_time()
    answers = {(r.item_id, r.sample): a for r, a in Generator(net, words, LENGTH, temperature, batch=batch).run(asked)}
    seconds = time.process_time() - start
    # A stop string is found at the next look, 8 tokens on at most.
    room = {r.item_id: LENGTH - len(r.text) for r in asked}
    tokens = {key: min(room[key[0]], 8 * (len(answer) // 8 + 1)) for key, answer in answers.items()}
    calls, slots, prompts = steps_before(asked, tokens)
    width = batch or 256
    return {
        "temperature": temperature, "rows at once": width, "calls": count.calls, "calls before": calls,
        "row-steps": count.calls * width if batch else count.rows, "row-steps before": slots,
        "prompt tokens": count.prompt_tokens, "prompt tokens before": prompts, "cpu seconds": round(seconds, 1),
        "answers": answers, "mean answer": Counter(tokens.values()).total() and sum(tokens.values()) / len(tokens),
    }  # fmt: skip


def main() -> None:
    """Prints a table in Markdown."""
    torch.set_num_threads(1)
    print("| temperature | rows at once | calls | before | row-steps | before | tokens of prompts | before | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for temperature in (0.0, 0.2, 1.0):
        for batch in (BEFORE, None):
            r = measure(temperature, batch)
            print(
                f"| {temperature} | {r['rows at once']} | {r['calls']} | {r['calls before']} | {r['row-steps']} | "
                f"{r['row-steps before']} | {r['prompt tokens']} | {r['prompt tokens before']} | {r['cpu seconds']} |"
            )


if __name__ == "__main__":
    main()
