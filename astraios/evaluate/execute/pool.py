"""Jailed workers and the traffic with them: requests out, verdicts back, a dead worker replaced."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import subprocess
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

from astraios.errors import AstraiosError
from astraios.evaluate.execute import Program, Verdict
from astraios.evaluate.execute.isolation import Jail

DEPTH = 4
"""Requests that wait at a worker, so that it never idles."""


class Channel:
    """Frames of four bytes of length and JSON over the pipes of a jailed process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.out, self.back = process.stdin.fileno(), process.stdout.fileno()
        self.buffer = b""

    def send(self, message: dict[str, Any]) -> None:
        """Raises BrokenPipeError when the process is gone."""
        data = json.dumps(message).encode()
        data = len(data).to_bytes(4, "big") + data
        while data:
            data = data[os.write(self.out, data) :]

    def messages(self) -> list[dict[str, Any]]:
        """What can be read now.

        Raises:
            EOFError: the process is gone, or sends what is no message.
        """
        part = os.read(self.back, 1 << 16)
        if not part:
            raise EOFError
        self.buffer += part
        found = []
        while len(self.buffer) >= 4:
            size = int.from_bytes(self.buffer[:4], "big")
            if size > 1 << 20:
                raise EOFError
            if len(self.buffer) < 4 + size:
                break
            try:
                found.append(json.loads(self.buffer[4 : 4 + size]))
            except ValueError:
                raise EOFError from None
            self.buffer = self.buffer[4 + size :]
        return found

    def close(self) -> str:
        """End the process; the last line of its stderr."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()
        return ended(self.process)


def ended(process: subprocess.Popen[bytes], patience: float = 5.0) -> str:
    """Wait for the end of a process whose pipes are closed, or end it; the last line of its stderr."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    error = process.stderr.read().decode("utf-8", "replace") if process.stderr else ""
    if process.stderr:
        process.stderr.close()
    lines = error.strip().splitlines()
    return lines[-1] if lines else f"exit code {process.returncode}"


class Worker:
    """A jailed judge, which knows the tests, the jailed process that runs programs for it, and what waits at them."""

    def __init__(self, jail: Jail, life: int) -> None:
        here, there = socket.socketpair()
        with here, there:
            self.runner = jail.start(life, (there.fileno(),))
            self.channel = Channel(replace(jail, judge=True).start(life, (here.fileno(),)))
        self.waiting: deque[int] = deque()
        self.since = time.monotonic()
        self.heard = False
        """Whether it has ever replied."""

    def kill(self) -> None:
        """End both processes at once."""
        self.channel.process.kill()
        self.runner.kill()

    def close(self) -> str:
        """End both processes; what they said last."""
        said = self.channel.close()
        if self.runner.stdin:
            self.runner.stdin.close()
        if self.runner.stdout:
            self.runner.stdout.close()
        other = ended(self.runner)
        return said if other.startswith("exit code") else f"{said}; {other}"


_ASKS_FOR_NUMPY = re.compile(
    r"\b(np|numpy|globals|locals|vars|dir|eval|exec|modules|importlib|__import__|__globals__|inspect|gc|f_globals)\b"
)
_IMPORTS_NUMPY = re.compile(r"^import numpy( as \w+)?[ \t]*$", re.MULTILINE)
_IMPORTS_HEAVY = re.compile(r"^import (cmath|datetime|decimal|fractions|hashlib|statistics)[ \t]*$\n?", re.MULTILINE)


def needs_numpy(program: Program) -> bool:
    """Whether a program could tell that its preamble's import of numpy has been left out."""
    return any(_ASKS_FOR_NUMPY.search(text) for text in (program.code, program.test)) or bool(
        re.search("numpy", _IMPORTS_NUMPY.sub("", program.preamble))
    )


class PythonPool:
    """Judges Python programs in jailed processes: those that can't tell the difference in workers without numpy.

    Args:
        level: isolation level, as `isolation.choose` gives it.
        workers: jailed processes at a time.
        user_namespace: take a user namespace even as root.
    """

    def __init__(self, level: str, workers: int = 2, user_namespace: bool = False) -> None:
        self.crews = {numpy: Crew(level, workers, user_namespace, numpy) for numpy in (False, True)}

    def close(self) -> None:
        """End all workers."""
        for crew in self.crews.values():
            crew.close()

    def judge(self, programs: Sequence[Program]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts as they come, with the index of the program."""
        for numpy, crew in self.crews.items():
            mine = [index for index, program in enumerate(programs) if needs_numpy(program) is numpy]
            with contextlib.closing(crew.judge([programs[index] for index in mine])) as verdicts:
                for number, verdict in verdicts:
                    yield mine[number], verdict

    def run_commands(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Exit code and output of commands run in the jail, one after the other."""
        return self.crews[False].run_commands(requests)


class Crew:
    """Jailed workers of one kind.

    Args:
        level: isolation level.
        workers: jailed processes.
        user_namespace: take a user namespace even as root.
        numpy: whether they have it loaded.
    """

    def __init__(self, level: str, workers: int, user_namespace: bool, numpy: bool) -> None:
        self.jail = Jail(level, user_namespace=user_namespace, numpy=numpy)
        self.size = workers
        self.workers: list[Worker] = []
        self._life = os.pipe()
        self.stillborn = 0
        """Workers in a row that never said a word."""

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.close()
        self.workers = []
        for descriptor in self._life:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._life = (-1, -1)

    def judge(self, programs: Sequence[Program]) -> Generator[tuple[int, Verdict], None, None]:
        """Verdicts as they come, with the index of the program."""
        todo = deque(range(len(programs)))
        tries: dict[int, int] = {}
        open_count = len(programs)
        while len(self.workers) < min(self.size, len(programs)):
            self.workers.append(Worker(self.jail, self._life[0]))
        poll = select.poll()
        by_descriptor: dict[int, Worker] = {}
        for worker in self.workers:
            poll.register(worker.channel.back, select.POLLIN | select.POLLHUP)
            by_descriptor[worker.channel.back] = worker
        try:
            while open_count:
                for worker in list(self.workers):
                    self._fill(worker, todo, programs)
                for descriptor, _ in poll.poll(1000):
                    worker = by_descriptor[descriptor]
                    try:
                        for reply in worker.channel.messages():
                            if "ready" in reply:
                                worker.heard = True
                                continue
                            index = self._expected(worker, reply)
                            open_count -= 1
                            yield index, self._verdict(reply)
                    except EOFError:
                        for index, verdict in self._replace(worker, todo, tries, poll, by_descriptor):
                            open_count -= 1
                            yield index, verdict
                for worker in list(self.workers):
                    if worker.waiting and time.monotonic() - worker.since > self._patience(worker, programs):
                        worker.kill()
        except GeneratorExit:
            self._forget()
            raise

    def _patience(self, worker: Worker, programs: Sequence[Program]) -> float:
        return 10 * programs[worker.waiting[0]].limits.wall_seconds + 60.0

    def _expected(self, worker: Worker, reply: dict[str, Any]) -> int:
        if not worker.waiting or reply.get("id") != worker.waiting[0]:
            raise EOFError
        worker.since = time.monotonic()
        return worker.waiting.popleft()

    def _fill(self, worker: Worker, todo: deque[int], programs: Sequence[Program]) -> None:
        while todo and len(worker.waiting) < DEPTH:
            index = todo.popleft()
            program = programs[index]
            if not worker.waiting:
                worker.since = time.monotonic()
            worker.waiting.append(index)
            with contextlib.suppress(BrokenPipeError):  # its end shows as EOF of the replies
                worker.channel.send(
                    {
                        "id": index,
                        **self._preambles(program),
                        "whole": program.preamble,
                        "code": program.code,
                        "test": program.test,
                        "cpu": program.limits.cpu_seconds,
                        "wall": program.limits.wall_seconds,
                        "memory": program.limits.memory_bytes,
                    }
                )

    def _preambles(self, program: Program) -> dict[str, str]:
        """What has run before a program's process is made, and what runs there.

        A worker without numpy has none of the large modules; a program that names one imports it by itself.
        """
        if self.jail.numpy:
            return {"preamble": program.preamble, "late": ""}
        text = _IMPORTS_NUMPY.sub("", program.preamble)
        named = [found for found in _IMPORTS_HEAVY.finditer(text) if found[1] in program.code]
        return {"preamble": _IMPORTS_HEAVY.sub("", text), "late": "".join(found[0] for found in named)}

    def _replace(
        self, worker: Worker, todo: deque[int], tries: dict[int, int], poll: Any, known: dict[int, Worker]
    ) -> list[tuple[int, Verdict]]:
        """A new worker for a dead one; its programs are queued again, the one that it died of once."""
        poll.unregister(worker.channel.back)
        del known[worker.channel.back]
        reason = worker.close()
        self.workers.remove(worker)
        lost = list(worker.waiting)
        given_up = []
        self.stillborn = 0 if worker.heard else self.stillborn + 1
        if self.stillborn > 3:
            raise AstraiosError(f"the sandbox does not start: {reason}")
        if lost and worker.heard:
            tries[lost[0]] = tries.get(lost[0], 0) + 1
            if tries[lost[0]] > 1:
                word = "timeout" if "SIGXCPU" in reason else "failed"
                given_up = [(lost.pop(0), Verdict(word, f"ended its sandbox twice: {reason}", self.jail.level))]
        todo.extendleft(reversed(lost))
        fresh = Worker(self.jail, self._life[0])
        self.workers.append(fresh)
        poll.register(fresh.channel.back, select.POLLIN | select.POLLHUP)
        known[fresh.channel.back] = fresh
        return given_up

    def _verdict(self, reply: dict[str, Any]) -> Verdict:
        word, _, detail = str(reply.get("verdict", "")).partition(" ")
        if word not in ("passed", "failed", "timeout", "memory", "crashed"):
            word, detail = "failed", "no verdict"
        return Verdict(word, detail, self.jail.level, float(reply.get("cpu", 0.0)))

    def _forget(self) -> None:
        """Workers with unread verdicts are of no more use."""
        for worker in self.workers:
            worker.kill()
            worker.close()
        self.workers = []

    def run_commands(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Exit code and output of commands run in the jail, one after the other."""
        if not self.workers:
            self.workers.append(Worker(self.jail, self._life[0]))
        results = []
        for index, request in enumerate(requests):
            channel = self.workers[0].channel
            try:
                channel.send({**request, "id": index})
                replies: list[dict[str, Any]] = []
                while not replies:
                    replies = [reply for reply in channel.messages() if "ready" not in reply]
                results.append(replies[0])
            except (EOFError, BrokenPipeError):
                reason = self.workers.pop(0).close()
                results.append({"code": None, "output": reason})
                self.workers.insert(0, Worker(self.jail, self._life[0]))
        return results
