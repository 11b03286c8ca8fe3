"""Levels of isolation: which one this machine gives, why, and the command that starts a jailed process."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from astraios.errors import AstraiosError, UsageError, did_you_mean

LEVELS = ("namespaces", "confined")
"""From strong to less strong; nothing runs below the second.

namespaces: own user or root-dropped identity, pid, mount, network, IPC and UTS namespaces with a root of its own,
    seccomp, Landlock, rlimits; nothing of the machine is writable, no network, no process outlives its program.
confined: no namespaces; Landlock lets only the interpreter's files be read and nothing be written, seccomp forbids
    processes, signals and sockets, unix sockets included; rlimits.
"""
_SCRIPT = Path(__file__).parent / "inside" / "jail.py"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache", "/etc/alternatives")


@dataclass(frozen=True)
class Jail:
    """How a jailed process is started."""

    level: str
    user_namespace: bool = False
    """Take a user namespace even as root."""
    command: Sequence[str] = ()
    """What to execute in the jail; nothing: the Python worker."""
    visible: Sequence[str] = ()
    """Further files and folders that can be read inside."""
    environment: Mapping[str, str] = field(default_factory=dict)
    scratch_bytes: int = 64 << 20
    files: int = 64
    processes: int = 64
    proc: bool = False
    numpy: bool = True
    """Whether a Python worker has numpy loaded."""
    judge: bool = False
    """Be the process that runs tests, not the one that runs programs."""

    def start(self, life: int, peers: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        """The jailed process, with pipes on stdin and stdout.

        Args:
            life: read end of a pipe; when its write end closes, the jail ends.
            peers: further descriptors that the jailed process gets.
        """
        scratch = "/scratch-" + secrets.token_hex(8)
        config = {
            "level": self.level,
            "user_namespace": self.user_namespace,
            "command": list(self.command),
            "environment": dict(self.environment),
            "visible": [*_SYSTEM, *_interpreter(), *self.visible],
            "scratch": scratch,
            "scratch_bytes": self.scratch_bytes,
            "file_bytes": self.scratch_bytes if self.level == "namespaces" else 0,
            "files": self.files,
            "processes": self.processes,
            "proc": self.proc,
            "numpy": self.numpy,
            "judge": self.judge,
            "own_user": os.geteuid() == 0,
            "peers": list(peers),
            "life": life,
        }
        environment = {
            "PYTHONHASHSEED": "0",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "LANG": "C.UTF-8",
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(_libraries()),
        }
        return subprocess.Popen(
            [sys.executable, "-s", "-S", "-P", "-B", str(_SCRIPT), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(life, *peers),
            env=environment,
            bufsize=0,
        )


@contextmanager
def lifeline() -> Iterator[int]:
    """Read end of a pipe whose write end closes when this block ends, or this process does."""
    reader, writer = os.pipe()
    try:
        yield reader
    finally:
        os.close(writer)
        os.close(reader)


def _libraries() -> list[str]:
    """The folder that holds numpy, when it is installed: generated programs may use it."""
    import importlib.util

    found = importlib.util.find_spec("numpy")
    return [str(Path(found.origin).parent.parent)] if found and found.origin else []


def _interpreter() -> list[str]:
    """What Python needs of the file system, with numpy and nothing else of the environment."""
    packages = [f"{folder}/{name}" for folder in _libraries() for name in ("numpy", "numpy.libs")]
    base = os.path.realpath(sys.base_prefix)
    return [path for path in (base, *packages) if not path.startswith("/usr/") and path != "/usr"]


@dataclass(frozen=True)
class Isolation:
    """What this machine offers."""

    level: str | None
    """The strongest level, or None where there is none."""
    reasons: Mapping[str, str]
    """For each level: "available", or why not."""
    layers: tuple[str, ...]
    """Layers in force at that level."""

    def explain(self) -> str:
        """One line for people."""
        if self.level == LEVELS[0]:
            return f"{self.level}: {', '.join(self.layers)}"
        missing = "; ".join(f"no {name}: {why}" for name, why in self.reasons.items() if why != "available")
        return f"{self.level or 'none: generated programs are not run'} ({missing})"


def _probe(jail: Jail) -> str:
    """ "available", or the reason why such a jail can't be started."""
    if sys.platform != "linux":
        return f"{sys.platform} has none of it"
    with lifeline() as life:
        process = jail.start(life)
        try:
            _, error = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return "it did not start within 20 s"
    if process.returncode == 0:
        return "available"
    lines = error.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {process.returncode}"


@cache
def isolation() -> Isolation:
    """Probe this machine, once a process."""
    true = next((path for path in ("/bin/true", "/usr/bin/true") if os.path.exists(path)), "/bin/true")
    reasons = {
        "namespaces": _probe(Jail("namespaces", command=(true,))),
        "confined": _probe(Jail("confined", command=(true,))),
    }
    level = next((name for name in LEVELS if reasons[name] == "available"), None)
    layers = {
        "namespaces": ("root dropped" if os.geteuid() == 0 else "user namespace", "pid, mount, network, IPC and UTS "
                       "namespaces", "root of its own", "seccomp", "rlimits"),
        "confined": ("seccomp", "Landlock", "rlimits"),
        None: (),
    }[level]  # fmt: skip
    if level == "namespaces" and reasons["confined"] == "available":
        layers = (*layers, "Landlock")
    return Isolation(level, reasons, layers)


def choose(wanted: str = "auto") -> str:
    """The level to run at.

    Args:
        wanted: a name from LEVELS, or "auto" for the strongest.

    Raises:
        UsageError: no such level.
        AstraiosError: the machine does not offer it.
    """
    if wanted == "weak":
        raise UsageError("isolation level weak is gone: it ran programs without a sandbox; choose another or auto")
    if wanted not in (*LEVELS, "auto"):
        raise UsageError(f"unknown isolation level {wanted!r}: {did_you_mean(wanted, (*LEVELS, 'auto'))}")
    offered = isolation()
    if wanted == "auto":
        if offered.level:
            return offered.level
        raise AstraiosError(f"this machine offers no sandbox: {offered.explain()}")
    if offered.reasons[wanted] != "available":
        raise AstraiosError(f"isolation level {wanted} can't be had here: {offered.reasons[wanted]}")
    return wanted


def doctor() -> dict[str, object]:
    """What `astraios doctor` says about running generated programs: level, layers, reasons, interpreters."""
    import shutil

    found = isolation()
    tools = {name: shutil.which(name) for name in ("java", "javac", "gcc", "codeql")}
    return {
        "isolation": found.level or "none",
        "explanation": found.explain(),
        "layers": list(found.layers),
        "levels": dict(found.reasons),
        "tools": {name: bool(path) for name, path in tools.items()},
    }
