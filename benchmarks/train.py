"""Training throughput and peak memory of astraios against the plain transformers Trainer: same model, recipe, blocks.

    python benchmarks/train.py                      # on the CPU: a small GPTBigCode with StarCoder's vocabulary, and
                                                    # the largest base of the offline ladder with that ladder's recipe
    python benchmarks/train.py --device cuda        # a 1B-shaped StarCoder with random weights, bf16 and 8-bit

Each measurement on a CPU is a process of its own (its peak memory is its own); on a GPU all share one, with a peak each.
Sides alternate, and the first step of each, which warms up or compiles, is left out. The last losses of both stand
beside, as a check that they train the same thing, and the share of the device's matrix rate (measured beside) that the
model's own operations come to. Prints Markdown tables with ratios: above 1 in throughput and below 1 in memory are in
favour of the side named first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
SIDES = {"cpu": ("astraios", "Trainer"), "cuda": ("astraios", "astraios compiled", "Trainer", "Trainer compiled")}
PAIRS = (("astraios", "Trainer"), ("astraios compiled", "Trainer compiled"), ("astraios compiled", "astraios"))
"""What is divided by what."""
RATE = {"lora": 1e-3, "fft": 1e-4}


@dataclass(frozen=True)
class Case:
    """What both sides train."""

    method: str
    quantization: str
    """none or 8bit: of the base."""
    dtype: str
    fields: dict[str, int]
    sequence_length: int
    micro_batch: int
    batch_size: int
    steps: int

    @property
    def name(self) -> str:
        precision = "8-bit base" if self.quantization == "8bit" else self.dtype
        several = f", {self.micro_batch} blocks at a time" if self.fields["n_embd"] > 1024 else ""
        return f"{self.method}, {precision}, width {self.fields['n_embd']}{several}"


def cases(device: str, steps: int) -> list[Case]:
    """The models and recipes that are measured on a device."""
    if device == "cpu":
        small = {"n_embd": 256, "n_layer": 4, "n_head": 4, "n_inner": 1024, "n_positions": 512, "vocab_size": 49152}
        tiny = {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_inner": 512, "n_positions": 320, "vocab_size": 1024}
        return [
            *(Case(m, "none", "float32", small, 512, 1, 4, steps) for m in ("lora", "fft")),
            *(Case(m, "none", "float32", tiny, 256, 2, 2, 10 * steps) for m in ("lora", "fft")),
        ]
    one_b = {"n_embd": 2048, "n_layer": 24, "n_head": 16, "n_inner": 8192, "n_positions": 8192, "vocab_size": 49152}
    which = (("lora", "none", 1), ("lora", "8bit", 1), ("fft", "none", 1), ("lora", "8bit", 8))
    return [Case(method, precision, "bfloat16", one_b, 2048, blocks, 32, steps) for method, precision, blocks in which]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each side")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps, the first of which is not counted")
    parser.add_argument("--cases", default="", help="those alone whose name has this in it")
    parser.add_argument("--sides", help="some of them alone, with commas between")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_job(json.loads(options.child))
        return
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("GPU part: not run, there is no CUDA device here")
    print(f"device {options.device}, threads {options.threads}, load before the run {os.getloadavg()[0]:.1f}\n")
    compare(options)
    print(f"\nload after the run {os.getloadavg()[0]:.1f}")
    if options.device == "cpu":
        print("GPU part: not run (--device cuda)")


def compare(options: argparse.Namespace) -> None:
    """Measures all cases and prints both tables."""
    measured = [case for case in cases(options.device, options.steps) if options.cases in case.name]
    found = rounds(measured, options)
    print("| case | side | tokens / s (median) | all rounds | share of matrix rate | peak memory, MB | last loss |")
    print("| --- | --- | ---: | --- | ---: | ---: | ---: |")
    for (name, side), results in found.items():
        failed = [r["failed"] for r in results if "failed" in r]
        if failed:
            print(f"| {name} | {side} | | failed: {failed[0]} | | | |")
            continue
        speeds = [r["tokens_per_second"] for r in results]
        print(
            f"| {name} | {side} | {statistics.median(speeds):.0f} | {', '.join(f'{s:.0f}' for s in speeds)} | "
            f"{statistics.median(r['share'] for r in results):.0%} | "
            f"{max(r['peak_bytes'] for r in results) / 1e6:.0f} | {results[-1]['loss']:.4f} |"
        )
    print("\n| case | sides | throughput (median of pairs) | pairs | peak memory |")
    print("| --- | --- | ---: | --- | ---: |")
    for case in measured:
        for ours, theirs in PAIRS:
            first, second = found.get((case.name, ours), []), found.get((case.name, theirs), [])
            if not first or not second or any("failed" in r for r in (*first, *second)):
                continue
            pairs = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(first, second, strict=True)]
            space = max(r["peak_bytes"] for r in first) / max(r["peak_bytes"] for r in second)
            print(
                f"| {case.name} | {ours} / {theirs} | {statistics.median(pairs):.2f} | "
                f"{', '.join(f'{p:.2f}' for p in pairs)} | {space:.2f} |"
            )


def rounds(measured: list[Case], options: argparse.Namespace) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What each side of each case measured in each round; sides alternate, and what has to be compiled comes last."""
    sides = [side for side in SIDES[options.device] if side in (options.sides or side).split(",")]
    order = [
        (case, side)
        for compiled in (False, True)
        for case in measured
        for number in range(options.rounds)
        for side in (sides if number % 2 == 0 else sides[::-1])
        if side.endswith("compiled") == compiled
    ]
    # A GPU's peak can be told apart in one process, which spares the others' start.
    batches = [order] if options.device == "cuda" else [[one] for one in order]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for batch in batches:
        for (case, side), result in zip(batch, run_child(batch, options), strict=True):
            found.setdefault((case.name, side), []).append(result)
    return found


def run_child(batch: list[tuple[Case, str]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measurements in a process of their own, which says on its error output what it has measured so far."""
    job = {
        "measurements": [[asdict(case), side] for case, side in batch],
        "device": options.device,
        "threads": options.threads,
    }
    command = [sys.executable, __file__, "--child", json.dumps(job)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    environment["OMP_NUM_THREADS"] = str(options.threads)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{batch[0][0].name}, {batch[0][1]}: failed")
    return list(json.loads(done.stdout.splitlines()[-1]))


def run_job(job: dict[str, Any]) -> None:
    """What that process does: a side that fails says so, and the others go on."""
    if job["measurements"][0][1].startswith("astraios"):
        from astraios.train.large_pages import ask_for_large_pages

        ask_for_large_pages()
    results: list[dict[str, Any]] = []
    for fields, side in job["measurements"]:
        case, start = Case(**fields), time.perf_counter()
        try:
            results.append(measure(case, side, job["device"], job["threads"]))
        except Exception as error:
            results.append({"failed": " ".join(str(error).split())[:200] or type(error).__name__})
        seconds = time.perf_counter() - start
        print(f"{case.name}, {side}: {results[-1]} in {seconds:.0f} s", file=sys.stderr, flush=True)
    print(json.dumps(results))


def measure(case: Case, side: str, device: str, threads: int) -> dict[str, float]:
    """One side's throughput, peak memory and last loss."""
    import gc

    import torch

    from astraios.collect.cell.environment import current
    from astraios.models.quiet import hush
    from astraios.train.flops import matmul_rate
    from astraios.train.loop import peak_memory_bytes

    hush()
    torch.set_num_threads(threads)
    rate = matmul_rate(current(device).environment_id, device, threads)
    if device == "cuda":
        gc.collect()
        torch.compiler.reset()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    plain, compiled = side.startswith("Trainer"), side.endswith("compiled")
    # The usual way to tune all of a model in bf16: weights in float32, computed in bf16. astraios does so by itself.
    model = build(case, device, "float32" if plain and case.method == "fft" else case.dtype)
    shape = (case.steps * case.batch_size, case.sequence_length)
    blocks = torch.randint(0, model.config.vocab_size, shape, generator=torch.Generator().manual_seed(0))
    ends, loss = (train_plain if plain else train_astraios)(case, model, blocks, device, compiled)
    speed = (len(ends) - 1) * case.batch_size * case.sequence_length / (ends[-1] - ends[0])
    share = speed * flops_per_token(case, model.config) / rate
    return {"tokens_per_second": speed, "loss": loss, "peak_bytes": peak_memory_bytes(device), "share": share}


def flops_per_token(case: Case, config: Any) -> float:
    """The model's operations, those of its tuning included."""
    from astraios.models.counting import count_parameters
    from astraios.models.methods import METHODS
    from astraios.train.flops import train_flops

    method = METHODS.get(case.method)
    count = count_parameters(config, method, method.with_defaults({}))
    return train_flops(config, count, kind=method.kind, n_tokens=1, sequence_length=case.sequence_length)


def build(case: Case, device: str, dtype: str) -> Any:
    """The model ready to be tuned, with random weights; dropout off, so that both sides' losses can be compared."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from astraios.models.ladders.hub import quantization_config
    from astraios.models.methods import METHODS

    torch.manual_seed(0)
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = AutoConfig.for_model("gpt_bigcode", multi_query=True, bos_token_id=0, eos_token_id=0, **case.fields, **off)
    with torch.device(device):
        base = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    if case.quantization == "8bit":
        with tempfile.TemporaryDirectory() as folder:
            base.save_pretrained(folder)
            del base
            base = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                device_map={"": device},
                quantization_config=quantization_config("8bit", dtype),
            )
    method = METHODS.get(case.method)
    return method.attach(base, method.with_defaults({"dropout": 0.0} if case.method == "lora" else {}), case.steps)


def clock(device: str) -> float:
    """Seconds, when the device has done what it was given."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def train_astraios(case: Case, model: Any, blocks: Any, device: str, compiled: bool) -> tuple[list[float], float]:
    """When each step ended, and the last step's loss."""
    from astraios.data.packing import PackedData
    from astraios.models.methods import METHODS
    from astraios.train.loop import Trainer, TrainSpec

    ends: list[float] = []
    losses: list[float] = []

    def ended(point: Any) -> None:
        # Before the state is copied for a checkpoint, which the other side makes none of.
        ends.append(clock(device))
        losses.append(point.loss_nats)

    spec = TrainSpec(
        steps=case.steps,
        batch_size=case.batch_size,
        micro_batch=case.micro_batch,
        warmup_steps=1,
        log_every=1,
        checkpoint_every=case.steps + 1,
        compile=compiled,
    )
    trainer = Trainer(
        model,
        PackedData(blocks, blocks, blocks[:0], blocks[:0], 0, 0.0),
        spec,
        method=METHODS.get(case.method),
        settings=METHODS.get(case.method).with_defaults({}),
        learning_rate=RATE[case.method],
        seed=0,
        on_loss=ended,
    )
    trainer.order = list(range(len(blocks)))
    trainer.run()
    return ends, losses[-1]


def train_plain(case: Case, model: Any, blocks: Any, device: str, compiled: bool) -> tuple[list[float], float]:
    """The same by the transformers Trainer, which shuffles otherwise: it is told to keep the order."""
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainerCallback, TrainingArguments

    ends: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *arguments: Any, **more: Any) -> None:
            ends.append(clock(device))

        def on_log(self, *arguments: Any, logs: Any = None, **more: Any) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    class InOrder(Trainer):
        def _get_train_sampler(self, *arguments: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=case.steps,
            per_device_train_batch_size=case.micro_batch,
            gradient_accumulation_steps=case.batch_size // case.micro_batch,
            learning_rate=RATE[case.method],
            lr_scheduler_type="cosine",
            warmup_steps=1,
            weight_decay=0.05,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=device == "cpu",
            bf16=device == "cuda",
            torch_compile=compiled,
        )
        rows = [{"input_ids": block, "labels": block} for block in blocks]
        InOrder(model=model, args=settings, train_dataset=rows, callbacks=[Clock()]).train()
    return ends, losses[-1]


if __name__ == "__main__":
    main()
