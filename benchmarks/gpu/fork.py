"""Does a cell's process of the local launcher get the GPU? From a fork server with the product's own preload it must not,
from a fresh process it must: the local launcher takes the second where there are GPUs. `python benchmarks/gpu/fork.py`
"""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any


def child(queue: Any) -> None:
    """Uses the GPU."""
    import torch

    try:
        queue.put(("ok", str(float(torch.ones(2, device="cuda").sum()))))
    except Exception as error:
        queue.put((type(error).__name__, str(error)[:150]))


def main() -> int:
    """Prints what each way of starting gives; 1 where the one that the launcher takes fails."""
    fate = {}
    for name, preload in (("forkserver", ["astraios.collect.launch._preload"]), ("spawn", None)):
        context: Any = multiprocessing.get_context(name)
        if preload:
            context.set_forkserver_preload(preload)
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        fate[name] = queue.get(timeout=180)
        print(name, *fate[name])
        process.join()
    return int(fate["spawn"][0] != "ok")


if __name__ == "__main__":
    sys.exit(main())
