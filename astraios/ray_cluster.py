"""Joining a Ray cluster, or starting one on this machine: for the launcher and for engines that generate."""

from __future__ import annotations

import logging
import os
import socket

from astraios.errors import MissingExtraError, StoreError

PATIENCE_S = 10.0
"""For the head to answer at all; Ray itself tries for minutes."""


def join(address: str | None, what: str, *, cpus: int | None = None, log: bool = False) -> None:
    """Connects this process.

    Args:
        address: HOST:PORT of a cluster's head, or auto for the one that $RAY_ADDRESS names; None starts one here.
        what: who asks, for errors.
        cpus: cores of a cluster that is started here.
        log: whether what tasks print is shown here.

    Raises:
        MissingExtraError: Ray is not installed.
        StoreError: no cluster answers there.
    """
    # Ray would warn about accelerators that nobody asked for.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "ray", what) from None
    where = address or "local"
    try:
        if address:
            _knock(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
        ray.init(
            address=where,
            num_cpus=None if address else cpus,
            include_dashboard=None if address else False,
            log_to_driver=log,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise StoreError(f"{what}: no cluster at {address or 'this machine'} ({said})") from None


def _knock(address: str) -> None:
    """Raises an OSError where nobody listens."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE_S).close()
