"""Judges a program from another process: the test runs here, each call of the program's functions goes over a socket.

Whatever the program does in its own process (frames, builtins, forged output, `os._exit`), a test passes only if the
values that come back are right, and values are rebuilt here from plain data: no object of the program gets across.
"""

from __future__ import annotations

import builtins
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

import system

LIMIT = 64 << 20
"""Bytes of one message."""


class Opaque:
    """Stands for a value that is not plain data; equals nothing."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


def encode(value: Any) -> Any:
    """Plain data as JSON can hold it; exact types only."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [encode(item) for item in value]
    if kind in (tuple, set, frozenset):
        return {kind.__name__: [encode(item) for item in value]}
    if kind is dict:
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    if kind in (bytes, bytearray):
        return {kind.__name__: value.hex()}
    if kind.__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return encode(value.item())
    return {"opaque": kind.__name__}


def decode(value: Any) -> Any:
    """What `encode` was given."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind in ("tuple", "set", "frozenset"):
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](decode(item) for item in inner)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in inner}
    if kind == "complex":
        return complex(*inner)
    if kind in ("bytes", "bytearray"):
        return bytes.fromhex(inner) if kind == "bytes" else bytearray.fromhex(inner)
    return Opaque(str(inner))


def send(channel: socket.socket, message: Any) -> None:
    """One message: length, then JSON."""
    data = json.dumps(message).encode()
    channel.sendall(len(data).to_bytes(4, "big") + data)


def receive(channel: socket.socket) -> Any:
    """The next message.

    Raises:
        EOFError: the other side is gone, or sends what is no message.
    """
    head = _exactly(channel, 4)
    size = int.from_bytes(head, "big")
    if size > LIMIT:
        raise EOFError("message too long")
    try:
        return json.loads(_exactly(channel, size))
    except (ValueError, RecursionError) as error:
        raise EOFError("not a message") from error


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = channel.recv(min(size, 1 << 16))
        if not part:
            raise EOFError("closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def answer(channel: socket.socket, namespace: dict[str, Any]) -> None:
    """The program's side: call what is asked for until the channel closes."""
    send(channel, {"ready": True})
    while True:
        request = receive(channel)
        try:
            result = namespace[request["name"]](*decode(request["args"]), **decode(request["named"]))
            reply = {"value": encode(result)}
        except BaseException as error:
            reply = {"error": type(error).__name__}
        send(channel, reply)


class Remote:
    """A function of the program, called over the channel."""

    def __init__(self, channel: socket.socket, name: str) -> None:
        self.channel, self.name = channel, name

    def __call__(self, *args: Any, **named: Any) -> Any:
        send(self.channel, {"name": self.name, "args": encode(list(args)), "named": encode(dict(named))})
        reply = receive(self.channel)
        if "value" in reply:
            return decode(reply["value"])
        kind = getattr(builtins, str(reply.get("error")), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            raise kind("raised by the program")
        raise RuntimeError("raised by the program")


def judge(code: CodeType, test: CodeType, preamble: dict[str, Any], confine: Callable[[], None]) -> str:
    """Run `code` in a process of its own and `test` in this one; "passed judged apart", "timeout" or what went wrong.

    Args:
        code: the untrusted program.
        test: trusted; may use functions of the program by name.
        preamble: namespace that both start with.
        confine: sets limits and filters; called in both processes.
    """
    sys.set_int_max_str_digits(0)
    here, there = socket.socketpair()
    judge_pid = os.getpid()
    child = system.fork()
    if not child:
        system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != judge_pid:
            os._exit(1)
        os.closerange(3, there.fileno())
        os.closerange(there.fileno() + 1, 256)
        confine()
        namespace = dict(preamble)
        try:
            exec(code, namespace)
            answer(there, namespace)
        except BaseException:
            os._exit(1)
        os._exit(0)
    there.close()
    system.prctl(system.PR_SET_DUMPABLE, 0)
    confine()
    try:
        receive(here)
        names = set(test.co_names).union(*(inner.co_names for inner in test.co_consts if isinstance(inner, CodeType)))
        namespace = {name: Remote(here, name) for name in names if not hasattr(builtins, name)}
        exec(test, {**namespace, **preamble})
        return "passed judged apart"
    except EOFError:
        return _how_it_ended(child)
    except BaseException as error:
        return f"failed {type(error).__name__} judged apart"


def _how_it_ended(child: int) -> str:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout"
    return "failed process ended judged apart"
