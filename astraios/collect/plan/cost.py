"""What a sweep will take: device-hours and money, from a given, a measured or an assumed throughput; what can't fit."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from astraios.collect.plan.cell_plan import Plan
from astraios.collect.plan.compute import ComputeSpec
from astraios.collect.plan.evaluation import ASSUMED as ASSUMED_GENERATION
from astraios.collect.plan.evaluation import Rates, TaskPlan
from astraios.models.methods import METHODS
from astraios.train.memory import GB

ASSUMED = {"none": 1.4e14, "8bit": 1.1e14, "nf4": 1.1e14}
"""Operations a second that one H100 is taken to sustain in training, by the base's quantization, where no GPU has been
measured: 14 and 11 % of its 989 TFLOP/s in bfloat16. A reckoning, good to a factor of two: on an H200, a block at a
time, full tuning at 1B came to 2.2e14, LoRA over 8 bits to 0.9e14 at 1B and 1.8e14 at 16B (benchmarks/RESULTS.md)."""


@dataclass(frozen=True)
class Estimate:
    """Of one cell."""

    device_hours: float | None
    """Of its training; None where no throughput is known."""
    price: float | None
    evaluation_hours: float | None = None
    """Of its tasks, as far as they are known; None where nothing is."""
    evaluation_price: float | None = None


@dataclass(frozen=True)
class Totals:
    """Of a sweep."""

    device_hours: float | None
    price: float | None
    source: str
    """Where the throughput comes from."""
    elapsed_hours: float | None = None
    """Wall time of training on the number of devices that the plan is for, longest cells first; None without one."""
    evaluation_hours: float | None = None
    evaluation_price: float | None = None
    evaluation_source: str = ""
    """Where the speed of generation comes from; empty where no task generates."""


def estimate(
    plan: Plan,
    compute: ComputeSpec,
    measured: Mapping[int, float],
    tasks: Sequence[TaskPlan] = (),
    rates: Rates | None = None,
) -> Estimate:
    """What a cell will take.

    Args:
        plan: the cell.
        compute: the sweep's [compute] table; its flops_per_second goes before what was measured.
        measured: operations a second that one device of the plan's kind sustained in training, by the base's number of
            parameters; the nearest size counts.
        tasks: what it is scored on.
        rates: what their samples were measured to take.
    """
    rate = compute.flops_per_second or _nearest(plan.count.n_params, measured)
    if rate is None and plan.device == "cuda":
        rate = ASSUMED[plan.cell.train.quantization]
    hours = plan.train_flops / rate / 3600 if rate and not plan.problem else None
    scoring = _sum(task.hours(plan, rates or {}) for task in tasks)
    return Estimate(hours, _price(hours, compute), scoring, _price(scoring, compute))


def _price(hours: float | None, compute: ComputeSpec) -> float | None:
    a_device_hour = compute.price_per_device_hour
    return None if hours is None or a_device_hour is None else hours * a_device_hour


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


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
    tasks: Sequence[TaskPlan] = (),
    rates: Rates | None = None,
) -> Totals:
    """Sums over a sweep.

    Args:
        plans: its cells.
        estimates: of each.
        compute: the sweep's [compute] table.
        measured: as `estimate` has it.
        devices: how many there are, for the wall time.
        tasks: what they are scored on.
        rates: as `estimate` has it.
    """
    source = "unknown: set [compute] flops_per_second, or run a few cells first"
    if compute.flops_per_second:
        source = f"{compute.flops_per_second:.3g} operations a second, as [compute] flops_per_second says"
    elif measured:
        source = f"measured on {len(measured)} sizes in the database"
    elif any(p.device == "cuda" for p in plans):
        source = (
            f"assumed for one H100, {ASSUMED['none']:.2g} operations a second in bfloat16 and {ASSUMED['8bit']:.2g} "
            "over a quantized base; no GPU was measured here, it may be half or twice as much"
        )
    jobs = [
        (e.device_hours / p.cell.train.processes, p.cell.train.processes)
        for p, e in zip(plans, estimates, strict=True)
        if e.device_hours is not None
    ]
    elapsed = _elapsed(jobs, devices) if devices and jobs else None
    return Totals(
        _sum(e.device_hours for e in estimates),
        _sum(e.price for e in estimates),
        source,
        elapsed,
        _sum(e.evaluation_hours for e in estimates),
        _sum(e.evaluation_price for e in estimates),
        _generation_source(plans, tasks, rates or {}),
    )


def _generation_source(plans: Sequence[Plan], tasks: Sequence[TaskPlan], rates: Rates) -> str:
    generating = [task for task in tasks if task.n_samples]
    known = [task for task in generating if (task.task_id, task.n_shot) in rates]
    if not generating:
        return ""
    if len(known) == len(generating):
        return "measured on samples of the same tasks in the database"
    rest = ASSUMED_GENERATION if any(p.device == "cuda" for p in plans) else "unknown: score a few cells first"
    return f"measured for {len(known)} of {len(generating)} tasks; the others {rest}" if known else rest


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
    ways += ["a smaller [train] micro_batch"] if train.least_blocks > 1 else []
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
