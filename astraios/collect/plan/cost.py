"""What a sweep will take: device-hours and money, from a given or a measured throughput, and what can't fit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from astraios.collect.plan.cell_plan import Plan
from astraios.collect.plan.compute import ComputeSpec
from astraios.train.memory import GB


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


def estimate(plan: Plan, compute: ComputeSpec, measured: Mapping[int, float]) -> Estimate:
    """What a cell will take.

    Args:
        plan: the cell.
        compute: the sweep's [compute] table; its flops_per_second goes before what was measured.
        measured: operations a second that one device sustained in training, by the base's number of parameters;
            the nearest size counts.
    """
    rate = compute.flops_per_second or _nearest(plan.count.n_params, measured)
    hours = plan.train_flops / rate / 3600 if rate and not plan.problem else None
    price = None
    if hours is not None and compute.price_per_device_hour is not None:
        price = hours * compute.price_per_device_hour
    return Estimate(hours, price)


def _nearest(n_params: int, measured: Mapping[int, float]) -> float | None:
    if not measured:
        return None
    return measured[min(measured, key=lambda n: abs(math.log(n / n_params)))]


def totals(estimates: Sequence[Estimate], compute: ComputeSpec, measured: Mapping[int, float]) -> Totals:
    """Sums over a sweep."""
    hours = [e.device_hours for e in estimates if e.device_hours is not None]
    prices = [e.price for e in estimates if e.price is not None]
    source = "unknown: set [compute] flops_per_second, or run a few cells first"
    if compute.flops_per_second:
        source = f"{compute.flops_per_second:.3g} operations a second, as [compute] flops_per_second says"
    elif measured:
        source = f"measured on {len(measured)} sizes in the database"
    return Totals(sum(hours) if hours else None, sum(prices) if prices else None, source)


def refuse_misfits(plans: Sequence[Plan], memory_bytes: float | None) -> list[Plan]:
    """Plans in which those that need more memory than a device has carry that as their problem.

    Args:
        plans: cells.
        memory_bytes: what one device has; None where that is not known, and nothing is refused.
    """
    if memory_bytes is None:
        return list(plans)
    return [
        p
        if p.problem or p.memory is None or p.memory.total <= memory_bytes
        else dataclasses.replace(
            p,
            problem=f"needs about {p.memory}, and a device has {memory_bytes / GB:.3g} GB: set [train] "
            "gradient_checkpointing = true, a smaller micro_batch, quantization, or processes and fsdp; or "
            "[compute] device_memory_gb to what it really has",
        )
        for p in plans
    ]
