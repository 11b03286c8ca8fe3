"""The worker inside the jail: a fork for each program, one after the other.

Requests and replies are JSON behind a length of four bytes, over the descriptors that were 0 and 1. The child of a
program has neither of them; its verdict comes over a pipe of its own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import random
import resource
import select
import signal
import sys
import time
import warnings
from types import CodeType
from typing import Any

import apart
import plain
import system

_BASE_BYTES = 0


def preload(numpy: bool) -> None:
    """Import what generated programs usually import, before any of them runs.

    Args:
        numpy: it too; without it a process is half as large, and a fork costs half as much.
    """
    import bisect  # noqa: F401
    import cmath  # noqa: F401
    import collections  # noqa: F401
    import copy  # noqa: F401
    import datetime  # noqa: F401
    import decimal  # noqa: F401
    import fractions  # noqa: F401
    import functools  # noqa: F401
    import hashlib  # noqa: F401
    import heapq  # noqa: F401
    import itertools  # noqa: F401
    import operator  # noqa: F401
    import re  # noqa: F401
    import statistics  # noqa: F401
    import string  # noqa: F401
    import typing  # noqa: F401

    if numpy:
        with contextlib.suppress(ImportError):
            importlib.import_module("numpy")
    global _BASE_BYTES
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        _BASE_BYTES = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")


class Patience:
    """The wall cap of one process: it ends what sleeps, not what a busy machine keeps from running.

    At the cap, a process that has used CPU time lately goes on, up to STRETCH caps (its CPU limit ends it anyway).
    """

    STRETCH = 10
    IDLE = 0.002

    def __init__(self, pid: int, wall: float) -> None:
        self.clock = (~pid << 3) | 2  # Linux: the CPU clock of another process
        self.wall, self.begin = wall, time.monotonic()
        self.deadline, self.used = self.begin + wall / 2, 0.0

    def wait(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self.deadline - time.monotonic())

    def over(self) -> bool:
        """Called when `wait` has passed: whether the process has to end."""
        try:
            used = time.clock_gettime(self.clock)
        except OSError:
            used = self.used
        idle = used - self.used < self.IDLE * self.wall / 2
        now = time.monotonic()
        spent, self.used, self.deadline = now - self.begin, used, now + self.wall / 2
        return (idle and spent >= self.wall) or spent >= self.STRETCH * self.wall


class Worker:
    """Judges programs; `scratch` is None where the jail has no namespaces."""

    def __init__(self, scratch: Any, config: dict[str, Any]) -> None:
        self.scratch, self.config = scratch, config
        self.preambles: dict[str, dict[str, Any]] = {}
        self.tests: dict[str, CodeType] = {}
        # With namespaces one filter for the worker and all its children does (a filter costs a program 1.5 ms), and
        # RLIMIT_NPROC forbids processes; but the kernel exempts root from that limit.
        self.cheap = scratch is not None and os.geteuid() != 0
        self.filter = system.Filter(processes=False) if config["level"] != "weak" and not self.cheap else None
        if self.cheap:
            system.Filter(processes=True).install()
        self.requests, self.replies = os.dup(0), os.dup(1)
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))
        warnings.simplefilter("ignore")
        if not scratch:
            system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)

    def run(self) -> None:
        """Serve until the requests end."""
        gc.collect()
        gc.freeze()
        while (head := self._read(4)) is not None:
            request = json.loads(self._read(int.from_bytes(head, "big")) or b"null")
            begin = time.perf_counter()
            kind = next((name for name in ("command", "compile") if name in request), "python")
            reply = getattr(self, kind)(request)
            data = json.dumps({**reply, "id": request["id"], "wall": time.perf_counter() - begin}).encode()
            data = len(data).to_bytes(4, "big") + data
            while data:
                data = data[os.write(self.replies, data) :]

    def _read(self, size: int) -> bytes | None:
        parts = []
        while size:
            part = os.read(self.requests, size)
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def python(self, request: dict[str, Any]) -> dict[str, Any]:
        """Verdict on one Python program."""
        preamble = self._preamble(request["preamble"])
        test = self._test(request["test"])
        reader, writer = os.pipe()
        child = system.fork()
        if not child:
            try:
                verdict = self._child(request, preamble, test, reader)
                os.write(writer, verdict.encode("utf-8", "replace")[:300])
            finally:
                os._exit(0)
        os.close(writer)
        return self._collect(child, reader, request)

    def _preamble(self, text: str) -> dict[str, Any]:
        if text not in self.preambles:
            namespace: dict[str, Any] = {}
            exec(compile(text, "<preamble>", "exec"), namespace)
            self.preambles[text] = namespace
        return self.preambles[text]

    def _test(self, text: str) -> CodeType:
        if text not in self.tests:
            if len(self.tests) > 512:
                self.tests.clear()
            self.tests[text] = compile(text, "<test>", "exec")
        return self.tests[text]

    def _child(self, request: dict[str, Any], preamble: dict[str, Any], test: CodeType, reader: int) -> str:
        """What the forked process does; its return value is the verdict."""
        for descriptor in (reader, self.requests, self.replies):
            os.close(descriptor)
        self._limit(request)
        random.seed(0)
        try:
            text = request["code"]
            # The judged text is preamble + program: only the joint text shows a misplaced __future__ import.
            joint = request["preamble"] + "\n" + text if "__future__" in text and request["preamble"] else text
            code = compile(joint, "<program>", "exec")
            names = frozenset().union(*(one.co_names for one in plain.codes(test)))
            reason = plain.suspicious(code, text, names)
        except (SyntaxError, ValueError) as error:
            return f"failed {type(error).__name__}"
        except (RecursionError, MemoryError, OverflowError) as error:
            return f"failed {type(error).__name__} in the compiler"
        if reason and self.config["level"] == "weak":
            return f"refused {reason}"
        if reason and request["apart"]:
            return apart.judge(code, test, preamble, self._confine)
        self._confine()
        namespace = dict(preamble)
        try:
            exec(code, namespace)
            exec(test, namespace)
        except MemoryError:
            return "memory"
        except BaseException as error:
            return f"failed {type(error).__name__}"
        return f"flagged {reason}" if reason else "passed"

    def _limit(self, request: dict[str, Any]) -> None:
        seconds = math.ceil(request["cpu"])
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        size = _BASE_BYTES + request["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    def _confine(self) -> None:
        if self.filter:
            self.filter.install()
        elif self.cheap:
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    def _collect(self, child: int, reader: int, request: dict[str, Any]) -> dict[str, Any]:
        """Wait for the child within the wall cap; read its verdict; leave nothing behind."""
        patience = Patience(child, request["wall"])
        poll = select.poll()
        poll.register(reader, select.POLLIN | select.POLLHUP)
        poll.register(self.requests, select.POLLHUP)
        output, late = b"", False
        while True:
            events = dict(poll.poll(patience.wait() * 1000))
            if reader in events:
                part = os.read(reader, 4096)
                if not part:
                    break
                output += part
                if len(output) > 4096:
                    break
            elif not events:
                if not patience.over():
                    continue
                late = True
                break
            elif events.get(self.requests, 0) & (select.POLLHUP | select.POLLERR):
                os.kill(child, signal.SIGKILL)
                os._exit(1)
        os.close(reader)
        if late or len(output) > 4096:
            os.kill(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
        self._sweep()
        verdict = output.decode("utf-8", "replace")
        return {"verdict": _verdict(verdict, status, usage, late, request), "cpu": usage.ru_utime + usage.ru_stime}

    def _sweep(self) -> None:
        """End what a program left running, delete what it left lying."""
        if self.scratch:
            self.scratch.assert_jailed()
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:  # without namespaces only a process that dies with its parent can be left
                os.waitpid(-1, 0)
        if self.scratch:
            self.scratch.clean()

    def compile(self, request: dict[str, Any]) -> dict[str, Any]:
        """Exit code 0 where a Python source file compiles; nothing of it runs."""
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                self._limit(request)
                self._confine()
                compile(request["compile"], "<source>", "exec")
                os.write(writer, b"valid")
            finally:
                os._exit(0)
        os.close(writer)
        verdict = self._collect(child, reader, request)["verdict"]
        return {"code": 0 if verdict == "valid" else 1, "output": verdict}

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """Exit code and end of the output of a command, for instance a compiler."""
        files = {name: text for name, text in request["files"].items() if "/" not in name}
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(self.requests)
                os.close(self.replies)
                os.setsid()
                self._limit(request)
                for name, text in files.items():
                    with open(name, "w", encoding="utf-8", errors="surrogatepass") as file:
                        file.write(text)
                os.dup2(writer, 1)
                os.dup2(writer, 2)
                if self.filter:
                    system.Filter(processes=True).install()
                os.execvpe(request["command"][0], request["command"], {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
            finally:
                os._exit(127)
        os.close(writer)
        output, late = self._drain(reader, request["wall"])
        with contextlib.suppress(ProcessLookupError):
            if late:
                os.killpg(child, signal.SIGKILL)
        _, status, _ = os.wait4(child, 0)
        self._sweep()
        code = os.waitstatus_to_exitcode(status)
        return {"code": -signal.SIGKILL if late else code, "output": output.decode("utf-8", "replace")}

    def _drain(self, reader: int, wall: float) -> tuple[bytes, bool]:
        deadline, output = time.monotonic() + wall, b""
        poll = select.poll()
        poll.register(reader, select.POLLIN | select.POLLHUP)
        try:
            while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                part = os.read(reader, 65536)
                if not part:
                    return output, False
                output = (output + part)[-65536:]
            return output, True
        finally:
            os.close(reader)


def _verdict(text: str, status: int, usage: resource.struct_rusage, late: bool, request: dict[str, Any]) -> str:
    if late or os.WIFSIGNALED(status):
        cpu = usage.ru_utime + usage.ru_stime
        if late or (os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) and cpu >= math.ceil(request["cpu"]) - 0.5):
            return "timeout"
        return f"crashed {signal.Signals(os.WTERMSIG(status)).name}"
    return text or "exited"


def serve(scratch: Any, config: dict[str, Any]) -> None:
    """Run a worker in this process, then end it."""
    Worker(scratch, config).run()
    os._exit(0)
