"""How long it takes to import 1,000 runs of 200 points: W&B run directories, and output folders of the Trainer.

    python benchmarks/imports.py [RUNS]

The files are written here in the tools' formats (a .wandb file is a LevelDB log of protocol buffers), each run with its
own losses, settings and adapter. Prints seconds, those of the processor, and the most memory that the process held.
"""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

POINTS = 200
CONFIG = {"_name_or_path": "base", "output_dir": "nowhere", "per_device_train_batch_size": 8, "weight_decay": 0.0}


def losses(seed: int) -> list[float]:
    draw = random.Random(seed)
    return [5.0 - step / 100 + draw.random() / 10 for step in range(POINTS)]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def item(name: str, value: Any) -> bytes:
    return field(1, field(1, name.encode()) + field(16, json.dumps(value).encode()))


def wandb_file(path: Path, seed: int) -> None:
    """One run as W&B writes it: settings, then a record a step with a training loss and an evaluation."""
    config = {**CONFIG, "seed": seed, "learning_rate": 1e-3, "n_params": 1_000_000 * (1 + seed % 7), "method": "lora"}
    settings = b"".join(item(name, value) for name, value in config.items())
    run = (
        field(1, f"r{seed:05d}".encode()) + field(3, b"ladder") + field(4, settings) + field(8, f"run-{seed}".encode())
    )
    records = [field(17, run)]
    for step, loss in enumerate(losses(seed)):
        row = {
            "train/loss": loss,
            "eval/loss": loss + 0.1,
            "train/global_step": step,
            "_step": step,
            "_timestamp": step,
        }
        records.append(field(2, b"".join(item(name, value) for name, value in row.items())))
    data = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for record in records:
        at = 0
        while at < len(record) or at == 0:
            left = 32768 - len(data) % 32768
            if left < 7:
                data += bytes(left)
                continue
            piece = record[at : at + left - 7]
            first, last = at == 0, at + len(piece) == len(record)
            kind = 1 if first and last else 2 if first else 4 if last else 3
            data += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            at += len(piece)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)


def safetensors(path: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))


def trainer_folder(folder: Path, seed: int) -> None:
    """One output folder of the Trainer: its state, and an adapter."""
    folder.mkdir(parents=True)
    log: list[dict[str, Any]] = []
    for step, loss in enumerate(losses(seed), 1):
        log += [
            {"step": step, "loss": loss, "learning_rate": 1e-3, "grad_norm": 1.0},
            {"step": step, "eval_loss": loss},
        ]
    state = {"global_step": POINTS, "log_history": log, "total_flos": 1e12, "num_input_tokens_seen": 1000 * POINTS}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "base", "r": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{stem}.lora_A.weight": (4, 64), f"{stem}.lora_B.weight": (64, 4)}
    safetensors(folder / "adapter_model.safetensors", tensors)


def measured(source: Path, db: Path) -> str:
    """Seconds of an import by the clock and of the processor, and the most megabytes that it held."""
    script = Path(sys.executable).with_name("astraios")
    before = time.perf_counter()
    work = subprocess.Popen(
        [script, "import", source, "--db", db], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(work.pid, 0)
    seconds = time.perf_counter() - before
    if status:
        raise SystemExit(f"the import of {source} failed")
    return f"{seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of the processor), {used.ru_maxrss / 1024:.0f} MB"


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "trainer").mkdir()
        (root / "trainer" / "base").mkdir()
        (root / "trainer" / "base" / "config.json").write_text(json.dumps({"model_type": "llama"}))
        safetensors(root / "trainer" / "base" / "model.safetensors", {"model.embed_tokens.weight": (1000, 64)})
        for seed in range(runs):
            wandb_file(root / "wandb" / f"offline-run-{seed:05d}" / f"run-r{seed:05d}.wandb", seed)
            trainer_folder(root / "trainer" / "out" / f"seed{seed}", seed)
        for name, source in (("Trainer folders", root / "trainer" / "out"), ("W&B run directories", root / "wandb")):
            print(f"{runs:,} {name} of {2 * POINTS:,} losses: {measured(source, root / f'{name[:1]}.duckdb')}")
            print(f"{runs:,} {name} again: {measured(source, root / f'{name[:1]}.duckdb')}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
