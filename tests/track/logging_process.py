"""A process that logs a run until it is stopped, as the kill tests start it: `python -m tests.track.logging_process`.

After each call of `log` it writes the step into a file of eight bytes, which survives its own kill: what stands there
was acknowledged.
"""

from __future__ import annotations

import itertools
import mmap
import struct
import sys
from pathlib import Path

import astraios


def main(out: str, run_id: str, told: Path) -> None:
    with open(told, "a+b") as file:
        if file.tell() < 8:
            file.write(b"\0" * 8)
            file.flush()
        acknowledged = mmap.mmap(file.fileno(), 8)
    [last] = struct.unpack("<q", acknowledged)
    run = astraios.init(model="m/a", method="lora", n_params=1e6, seed=0, out=out, id=run_id, resume="allow")
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    for step in itertools.count(last + 1):
        run.log(
            {"train/loss": 1.0 + 1.0 / step, "grad_norm": 0.5, "learning_rate": 1e-3 / step},
            step=step,
            tokens=step * 64,
        )
        acknowledged[:] = struct.pack("<q", step)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
