"""Joining a Ray cluster, or starting one on this machine: for the launcher and for engines that generate."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import secrets
import socket
import sys
from pathlib import Path

from astraios.errors import MissingExtraError, StoreError

PATIENCE_S = 10.0
"""For the head to answer at all; Ray itself tries for minutes."""


def join(address: str | None, what: str, *, cpus: int | None = None, log: bool = False) -> None:
    """Connects this process.

    A cluster that is started here asks every client for a token that this process makes and its children inherit:
    Ray listens on all interfaces, and whoever may submit a task runs what he likes.

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
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    late = "ray" in sys.modules
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "ray", what) from None
    if address is None and late:
        _read_mode_again()
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


def _read_mode_again() -> None:
    """Ray reads its environment when it is imported."""
    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("ray._raylet").Config.initialize("")


def doctor() -> dict[str, object]:
    """Whether Ray is here, and whether clusters that this machine joins ask for a token."""
    if importlib.util.find_spec("ray") is None:
        return {"ray": "not installed"}
    mode = os.environ.get("RAY_AUTH_MODE", "")
    kept = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    token = bool(os.environ.get("RAY_AUTH_TOKEN")) or kept.is_file()
    if mode == "token":
        joined = "asked for a token" if token else "RAY_AUTH_MODE is token, and there is none: `ray get-auth-token`"
    else:
        joined = "RAY_AUTH_MODE is not token: where Ray's default is open, whoever reaches the head runs code there"
    return {"ray": "started here: with a token of its own", "ray_clusters": joined}


def _knock(address: str) -> None:
    """Raises an OSError where nobody listens."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE_S).close()
