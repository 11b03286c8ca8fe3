"""What a sweep will take: device-hours and money, from a given, a measured or an assumed throughput; what can't fit."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from astraios.collect.plan.cell_plan import Plan
from astraios.collect.plan.compute import ComputeSpec
from astraios.models.methods import METHODS
from astraios.train.memory import GB

ASSUMED = {"none": 1.4e14, "8bit": 1.1e14, "nf4": 1.1e14}
"""Operations a second that one H100 is taken to sustain in training, by the base's quantization, where no GPU has been
measured: 14 and 11 % of its 989 TFLOP/s in bfloat16. A reckoning, good to a factor of two, that nobody has measured."""


@dataclass(frozen=True)
class Estimate:
    """Of one cell's training; evaluation is not in it."""

    device_hours: float | None
    """None where no throughput is known."""
    price: float | None


@dataclass(frozen=True)
class Totals:
    """Of a sweep."""

    device_hours: float | None
    price: float | None
    source: str
    """Where the throughput comes from."""
    elapsed_hours: float | None = None
    """Wall time on the number of devices that the plan is for, longest cells first; None without one."""


def estimate(plan: Plan, compute: ComputeSpec, measured: Mapping[int, float]) -> Estimate:
    """What a cell will take.

    Args:
        plan: the cell.
        compute: the sweep's [compute] table; its flops_per_second goes before what was measured.
        measured: operations a second that one device of the plan's kind sustained in training, by the base's number of
            parameters; the nearest size counts.
    """
    rate = compute.flops_per_second or _nearest(plan.count.n_params, measured)
    if rate is None and plan.device == "cuda":
        rate = ASSUMED[plan.cell.train.quantization]
    hours = plan.train_flops / rate / 3600 if rate and not plan.problem else None
    price = None
    if hours is not None and compute.price_per_device_hour is not None:
        price = hours * compute.price_per_device_hour
    return Estimate(hours, price)


def _nearest(n_params: int, measured: Mapping[int, float]) -> float | None:
    if not measured:
        return None
    return measured[min(measured, key=lambda n: abs(math.log(n / n_params)))]


def totals(
    plans: Sequence[Plan],
    estimates: Sequence[Estimate],
    compute: ComputeSpec,
    measured: Mapping[int, float],
    devices: int | None = None,
) -> Totals:
    """Sums over a sweep.

    Args:
        plans: its cells.
        estimates: of each.
        compute: the sweep's [compute] table.
        measured: as `estimate` has it.
        devices: how many there are, for the wall time.
    """
    hours = [e.device_hours for e in estimates if e.device_hours is not None]
    prices = [e.price for e in estimates if e.price is not None]
    source = "unknown: set [compute] flops_per_second, or run a few cells first"
    if compute.flops_per_second:
        source = f"{compute.flops_per_second:.3g} operations a second, as [compute] flops_per_second says"
    elif measured:
        source = f"measured on {len(measured)} sizes in the database"
    elif any(p.device == "cuda" for p in plans):
        source = (
            f"assumed for one H100, {ASSUMED['none']:.2g} operations a second in bfloat16 and {ASSUMED['8bit']:.2g} "
            "over a quantized base; no GPU was measured, it may be half or twice as much"
        )
    jobs = [
        (e.device_hours / p.cell.train.processes, p.cell.train.processes)
        for p, e in zip(plans, estimates, strict=True)
        if e.device_hours is not None
    ]
    elapsed = _elapsed(jobs, devices) if devices and jobs else None
    return Totals(sum(hours) if hours else None, sum(prices) if prices else None, source, elapsed)


def _elapsed(jobs: Sequence[tuple[float, int]], devices: int) -> float:
    """Hours until all jobs, each of so many hours on so many devices, are done, the longest started first."""
    free = [0.0] * devices
    for hours, wanted in sorted(jobs, reverse=True):
        taken = [heapq.heappop(free) for _ in range(min(wanted, devices))]
        for _ in taken:
            heapq.heappush(free, max(taken) + hours)
    return max(free)


def refuse_misfits(plans: Sequence[Plan], memory_bytes: float | None, devices: int | None = None) -> list[Plan]:
    """Plans in which those that ask for more memory or devices than there are carry that as their problem.

    Args:
        plans: cells.
        memory_bytes: what one device has; None where that is not known, and nothing is refused.
        devices: how many there are for a cell; None likewise.
    """
    return [p if p.problem else dataclasses.replace(p, problem=_misfit(p, memory_bytes, devices)) for p in plans]


def _misfit(plan: Plan, memory_bytes: float | None, devices: int | None) -> str | None:
    train = plan.cell.train
    if devices and train.processes > devices:
        return f"wants {train.processes} devices (processes), and there are {devices}: set fewer, or --machine K/N"
    if memory_bytes is None or plan.memory is None or plan.memory.total <= memory_bytes:
        return None
    ways = [] if train.gradient_checkpointing else ["[train] gradient_checkpointing = true"]
    ways += ["a smaller [train] micro_batch"] if train.micro_batch > 1 else []
    method = METHODS.get(plan.cell.method_id)
    if method.quantizable and train.quantization == "none":
        ways.append('[train] quantization = "8bit"')
    if train.quantization == "none":
        # What several devices have to hold each: shares of what is trained and of the weights, and the rest whole.
        shared = plan.memory.weights + plan.memory.training
        room = memory_bytes - (plan.memory.total - shared)
        held = shared * (train.processes if train.fsdp else 1)
        if room > 0:
            least = 2 ** max(1, math.ceil(math.log2(held / room)))
            ways.append(f"processes = {least} and fsdp = true for these cells alone, in [method.{method.name}]")
    ways.append("[compute] device_memory_gb to what a device really has")
    return f"needs about {plan.memory}, and a device has {memory_bytes / GB:.3g} GB: set {', or '.join(ways)}"
