"""What this machine offers, and what stands open on it."""

from __future__ import annotations

from astraios import ray_cluster
from astraios.evaluate.execute import isolation


def doctor() -> dict[str, object]:
    """What `astraios doctor` says: the sandbox and why, tools, and who may reach a Ray cluster."""
    return {**isolation.doctor(), **ray_cluster.doctor()}
