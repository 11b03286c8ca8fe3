"""Generation on a GPU: 20 samples of each prompt at two numbers of rows, in 8 bits and in bfloat16.

python benchmarks/gpu/generation.py [SIZE [PROMPTS [TOKENS]]]      (after cells.py has made base-SIZE; 1B, 8, 300)
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from astraios.evaluate.generate.hf import Generator
from astraios.evaluate.generate.requests import Request
from astraios.models.ladders import resolve

ROOT = Path(os.environ.get("GPU_CHECK", "/tmp/gpu-check"))


def main(size: str = "1B", prompts: str = "8", tokens: str = "300") -> None:
    """Prints seconds and tokens a second."""
    import torch

    ladder, rung = resolve(str(ROOT / f"base-{size}"))
    for quantization in ("8bit", None):
        model, tokenizer = ladder.load(rung.model_id, quantization=quantization, dtype="bfloat16", device="cuda")
        for batch in (16, None):
            requests = [Request(str(i // 20), i % 20, f"def f{i // 20}(x):") for i in range(20 * int(prompts))]
            torch.cuda.reset_peak_memory_stats()
            start = time.time()
            answers = list(Generator(model, tokenizer, int(tokens), 0.2, 0.95, 0, batch).run(requests))
            seconds = time.time() - start
            made = sum(len(tokenizer(answer)["input_ids"]) for _, answer in answers)
            print(
                f"{size} {quantization or 'bfloat16'}, {batch or 'as many rows as fit'}: {seconds:.1f} s, "
                f"{made / seconds:.0f} tokens/s, peak {torch.cuda.max_memory_allocated() / 1e9:.2f} GB",
                flush=True,
            )
        del model


if __name__ == "__main__":
    main(*sys.argv[1:])
