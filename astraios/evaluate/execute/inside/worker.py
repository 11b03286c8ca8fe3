"""The worker inside the jail that runs programs: a fork for each of them, one after the other.

It never sees a test. Requests come from the judge over a socket, a program speaks with its judge over one of its own,
and how it ended goes back when the judge has heard enough.
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
import socket
import struct
import sys
import time
import warnings
from typing import Any

import program
import system

ENDED = struct.Struct("!i?d")
"""How a program ended: wait status, whether it was late, CPU seconds."""
THREADS = 32
"""Threads that a program may have beside its first."""

USUAL = "bisect collections copy functools heapq itertools operator re string typing"
HEAVY = "cmath datetime decimal fractions hashlib statistics"
"""Modules that make a fork half as dear again; a worker without numpy has none of them."""
FURTHER = (
    "array asyncio base64 calendar concurrent.futures.thread contextlib csv dataclasses enum inspect io json logging "
    "numbers pathlib pprint queue secrets struct tempfile textwrap threading timeit traceback unicodedata unittest "
    "uuid zlib"
)
"""Modules that can't be imported later where the jail's user may not read the interpreter's folder."""


def preload(numpy: bool, all_of_it: bool = False) -> int:
    """Import what generated programs usually import, before any of them runs; bytes of the process then.

    Args:
        numpy: it and what else is large; without them a process is half as large, and a fork costs half as much.
        all_of_it: further modules too.
    """
    for name in (
        *USUAL.split(),
        *(HEAVY.split() if numpy or all_of_it else ()),
        *(FURTHER.split() if all_of_it else ()),
    ):
        importlib.import_module(name)
    if numpy:
        with contextlib.suppress(ImportError):
            importlib.import_module("numpy")
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    return 0


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
    """Runs programs; what they return is judged elsewhere, and no test ever gets here.

    Args:
        scratch: None where the jail has no namespaces.
        config: the jail's.
    """

    def __init__(self, scratch: Any, config: dict[str, Any]) -> None:
        self.scratch, self.config = scratch, config
        self.preambles: dict[str, dict[str, Any]] = {}
        # One filter for the worker and all its children does most; what a program's own process may not do besides is
        # forbidden there, by a filter that is built already.
        system.Filter(processes=True, sockets=scratch is not None).install()
        self.filter = system.Filter(processes=False, signals=scratch is not None, narrow=True)
        self.control = socket.socket(fileno=config["peers"][0])
        silence()
        random.seed(0)
        if os.geteuid() != 0 and (scratch is not None or config["own_user"]):
            resource.setrlimit(resource.RLIMIT_NPROC, (THREADS + 3, THREADS + 3))
        for number in (signal.SIGINT, signal.SIGTERM):  # nothing that process 1 has no handler for can reach it
            signal.signal(number, signal.SIG_DFL)
        if not scratch:
            system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)

    def run(self) -> None:
        """Serve until the requests end."""
        gc.collect()
        gc.freeze()
        while (head := exactly(self.control, 4)) is not None:
            request = json.loads(exactly(self.control, int.from_bytes(head, "big")) or b"null")
            kind = next((name for name in ("command", "compile") if name in request), "program")
            self.control.sendall(getattr(self, kind)(request))

    def program(self, request: dict[str, Any]) -> bytes:
        """Run one program until its judge has heard enough; how it ended.

        The judge gets its end of the program's channel before the program starts.
        """
        preamble = self._preamble(request["preamble"])
        fresh_descriptors()
        here, there = (end.detach() for end in socket.socketpair())
        control = self.control.fileno()
        child = system.fork()
        if not child:
            try:
                os.close(here)
                os.close(control)
                self._limit(request)
                self.filter.install()
                program.main(there, request, preamble)
            finally:
                os._exit(0)
        os.close(there)
        self.control.sendmsg([b"p"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", here))])
        os.close(here)
        return ENDED.pack(*self._watch(child, self.control, request["wall"]))

    def _preamble(self, text: str) -> dict[str, Any]:
        if text not in self.preambles:
            namespace: dict[str, Any] = {}
            exec(compile(text, "<preamble>", "exec"), namespace)
            self.preambles[text] = namespace
        return self.preambles[text]

    def _limit(self, request: dict[str, Any]) -> None:
        seconds = math.ceil(request["cpu"])
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        size = self.config["base_bytes"] + request["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    def _watch(self, child: int, control: socket.socket, wall: float) -> tuple[int, bool, float]:
        """Wait until the judge is done, the child is late or ends; its wait status, whether late, CPU seconds."""
        patience = Patience(child, wall)
        handle = os.pidfd_open(child)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(control, select.POLLIN | select.POLLHUP)
        late = False
        while not (events := poll.poll(patience.wait() * 1000)):
            if patience.over():
                late = True
                break
        heard = any(descriptor == control.fileno() for descriptor, _ in events)
        if not any(descriptor == handle for descriptor, _ in events):
            os.kill(child, signal.SIGKILL)
        os.close(handle)
        _, status, usage = os.wait4(child, 0)
        self._sweep()
        if not heard:
            poll.unregister(handle)
            poll.poll()
        if exactly(control, 1) is None:
            os._exit(1)
        return status, late, usage.ru_utime + usage.ru_stime

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

    def compile(self, request: dict[str, Any]) -> bytes:
        """Exit code 0 where a Python source file compiles; nothing of it runs."""
        child = os.fork()
        if not child:
            try:
                self._limit(request)
                self.filter.install()
                compile(request["compile"], "<source>", "exec")
                os._exit(0)
            finally:
                os._exit(1)
        late = self._late(child, request["wall"])
        _, status, _ = os.wait4(child, 0)
        self._sweep()
        return _framed({"code": -signal.SIGKILL if late else os.waitstatus_to_exitcode(status), "output": ""})

    @staticmethod
    def _late(child: int, wall: float) -> bool:
        patience = Patience(child, wall)
        handle = os.pidfd_open(child)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        try:
            while not poll.poll(patience.wait() * 1000):
                if patience.over():
                    os.kill(child, signal.SIGKILL)
                    return True
            return False
        finally:
            os.close(handle)

    def command(self, request: dict[str, Any]) -> bytes:
        """Exit code and end of the output of a command, for instance a compiler."""
        files = {name: text for name, text in request["files"].items() if "/" not in name}
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                self.control.close()
                os.setsid()
                self._limit(request)
                for name, text in files.items():
                    with open(name, "w", encoding="utf-8", errors="surrogatepass") as file:
                        file.write(text)
                os.dup2(writer, 1)
                os.dup2(writer, 2)
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
        return _framed({"code": -signal.SIGKILL if late else code, "output": output.decode("utf-8", "replace")})

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


def exactly(connection: socket.socket, size: int) -> bytes | None:
    """So many bytes, or None where they end before."""
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _framed(reply: dict[str, Any]) -> bytes:
    data = json.dumps(reply).encode()
    return len(data).to_bytes(4, "big") + data


def fresh_descriptors() -> None:
    """Nothing is read from or written to the descriptors of a terminal, nor is left of what a program did to them."""
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def silence() -> None:
    """Python's own files over fresh descriptors, and no warnings."""
    fresh_descriptors()
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))
    warnings.simplefilter("ignore")


def serve(scratch: Any, config: dict[str, Any]) -> None:
    """Run a worker in this process, then end it."""
    Worker(scratch, config).run()
    os._exit(0)
