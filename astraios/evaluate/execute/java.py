"""Java: two jailed JVMs a worker. One compiles and runs tests, the other runs programs and has never seen a test.

jvm/Judge.java and jvm/Runner.java say how; this process carries their frames to and fro, and replaces a JVM that ran
programs when one of them may have left something behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import select
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from astraios.errors import AstraiosError, UsageError
from astraios.evaluate.execute import Program, Verdict
from astraios.evaluate.execute.isolation import Jail

_SOURCES = Path(__file__).with_name("jvm")
_OPTIONS = (
    "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:MaxMetaspaceSize=512m",
    "-XX:MaxDirectMemorySize=64m", "-XX:+DisableAttachMechanism",
)  # fmt: skip
_JUDGE = ("-Xms64m", "-Xmx1g")
_RUNNER = (
    "-Xmx1g", "-XX:-StackTraceInThrowable", "-XX:ReservedCodeCacheSize=64m",
    "--limit-modules=java.base,java.logging,java.desktop,java.sql",
)  # fmt: skip
"""Few modules: none that looks into a JVM, instruments it or reaches around the language."""
_EXPORTS = tuple(f"--add-exports=jdk.compiler/com.sun.tools.javac.{name}=ALL-UNNAMED" for name in ("api", "platform"))
_SLACK = 30.0
"""Seconds beyond the wall cap after which a silent JVM is killed (compilation counts in none of the limits)."""
_LONGEST = 64 << 20
"""Bytes of a frame."""


@cache
def jdk() -> tuple[Path, int]:
    """Home and version of the JDK on this machine.

    Raises:
        AstraiosError: there is none, or only a runtime without a compiler.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if not java:
        raise AstraiosError("Java programs need a JDK, and no java is on PATH: install one, or set JAVA_HOME")
    folder = Path(os.path.realpath(java)).parent.parent
    if not (folder / "bin" / "javac").exists():
        raise AstraiosError(f"Java programs need a JDK; {folder} is a runtime without a compiler: install a JDK")
    try:
        found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', (folder / "release").read_text())
    except OSError:
        found = None
    if not found:
        raise AstraiosError(f"{folder} does not say which version it is: set JAVA_HOME to a JDK")
    return folder, int(found.group(1))


def check_level(level: int | None) -> None:
    """Whether this JDK compiles for Java `level`.

    Raises:
        UsageError: it does not.
    """
    _, version = jdk()
    lowest = 8 if version >= 20 else 7
    if level is not None and not lowest <= level <= version:
        raise UsageError(f"Java language level {level}: this machine's JDK {version} offers {lowest} to {version}")


def _compiled() -> Path:
    """Folder with the judge's classes, compiled once a JDK into the user's cache."""
    home, version = jdk()
    sources = sorted(_SOURCES.glob("*.java"))
    text = b"".join(source.read_bytes() for source in sources)
    name = f"judge-{version}-{hashlib.sha256(text + str(home).encode()).hexdigest()[:16]}"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "astraios"
    target = base / name
    if not (target / "judge" / "Judge.class").exists():
        building = base / f"{name}-{secrets.token_hex(4)}"
        building.mkdir(parents=True)
        command = [str(home / "bin" / "javac"), "-nowarn", *_EXPORTS, "-d", str(building)]
        command += map(str, sources)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise AstraiosError(f"the Java judge does not compile with {home}: {done.stderr.strip().splitlines()[-1:]}")
        with contextlib.suppress(OSError):  # somebody else was faster
            building.rename(target)
    return target


def _framed(*parts: bytes) -> bytes:
    data = b"".join(parts)
    return len(data).to_bytes(4, "big") + data


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return len(data).to_bytes(4, "big") + data


class Machine:
    """One jailed JVM, and frames to and from it; nothing here waits for it."""

    def __init__(self, jail: Jail, life: int) -> None:
        self.process = jail.start(life)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.out, self.back = self.process.stdin, self.process.stdout
        os.set_blocking(self.out.fileno(), False)
        self.arrived, self.leaving = b"", b""
        self.ready = False

    def send(self, frame: bytes) -> None:
        """Send as much as can be sent now, the rest later."""
        self.leaving += frame
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now."""
        try:
            while self.leaving:
                self.leaving = self.leaving[os.write(self.out.fileno(), self.leaving[: 1 << 20]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # its end shows as EOF of the frames
            self.leaving = b""

    def frames(self) -> list[bytes]:
        """What has arrived whole.

        Raises:
            EOFError: the JVM is gone, or sends what is no frame.
        """
        part = os.read(self.back.fileno(), 1 << 16)
        if not part:
            raise EOFError
        self.arrived += part
        found = []
        while len(self.arrived) >= 4:
            size = int.from_bytes(self.arrived[:4], "big")
            if not 0 < size <= _LONGEST:
                raise EOFError
            if len(self.arrived) < 4 + size:
                break
            found.append(self.arrived[4 : 4 + size])
            self.arrived = self.arrived[4 + size :]
        if found and found[0] == b"!":
            self.ready = True
            del found[0]
        return found

    def close(self, patience: float = 0.3) -> str:
        """End the JVM, by force where it does not end by itself; the last line that it said.

        One that ends by itself leaves its CPU time with this process.
        """
        for pipe in (self.out, self.back):
            pipe.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        error = self.process.stderr.read().decode("utf-8", "replace") if self.process.stderr else ""
        if self.process.stderr:
            self.process.stderr.close()
        lines = error.strip().splitlines()
        return lines[-1] if lines else "the JVM ended"


class Pair:
    """The JVM with the tests, the JVM with the programs, and the program that is being judged."""

    def __init__(self, judge: Jail, runner: Jail, life: int) -> None:
        self.jails, self.life = (judge, runner), life
        self.judge, self.runner = Machine(judge, life), Machine(runner, life)
        self.index: int | None = None
        self.deadline = 0.0
        self.loaded = self.plain = self.asked = False
        self.verdict: tuple[str, str] | None = None

    def ask(self, index: int, program: Program) -> None:
        """Have one program judged."""
        self.index, self.verdict = index, None
        self.loaded = self.asked = False
        self.deadline = time.monotonic() + 10 * program.limits.wall_seconds + _SLACK
        level = "" if program.level is None else str(program.level)
        milliseconds = [int(1000 * s) for s in (program.limits.cpu_seconds, program.limits.wall_seconds)]
        numbers = b"".join(number.to_bytes(8, "big") for number in milliseconds)
        code, test = _text(program.preamble + program.code), _text(program.test)
        self.judge.send(_framed(b"J", _text(level), numbers, code, test))

    def heard_judge(self, frame: bytes) -> None:
        """A frame for the other JVM, or the verdict."""
        if frame[:1] == b"L":
            self.loaded, self.plain = True, frame[-1:] == b"\1"
            self.runner.send(_framed(frame[:-1]))
        elif frame[:1] == b"C":
            self.asked = True
            self.runner.send(_framed(frame))
        else:
            size = int.from_bytes(frame[1:5], "big")
            status, rest = frame[5 : 5 + size].decode(), frame[9 + size :]
            self.verdict = status, rest.decode("utf-8", "replace")
            if self.loaded and self.plain:
                self.deadline = time.monotonic() + 10
                self.runner.send(_framed(b"E"))

    def heard_runner(self, frame: bytes) -> int | None:
        """An answer for the judge; or, at the end, CPU milliseconds."""
        if frame[:1] in (b"K", b"S") and self.verdict is not None:
            if frame[:1] == b"S":
                self.renew_runner()
            return int.from_bytes(frame[1:9], "big")
        if self.verdict is not None or not self.asked:
            self.renew_runner()  # it speaks without being asked
            return 0 if self.verdict is not None else None
        self.asked = False
        if frame[:1] == b"T":
            self.tell_gone("timeout")
        else:
            self.judge.send(_framed(frame))
        return None

    def tell_gone(self, why: str) -> None:
        """The program's JVM is of no more use: a new one, and the judge learns why."""
        self.renew_runner()
        self.loaded = False
        self.judge.send(_framed(b"X", _text(why)))

    def renew_runner(self) -> str:
        """A fresh JVM for programs."""
        said = self.runner.close()
        self.runner = Machine(self.jails[1], self.life)
        return said

    def close(self) -> None:
        """End both."""
        self.judge.close(5.0)
        self.runner.close(5.0)


class JavaPool:
    """Judges Java programs in `workers` pairs of jailed JVMs.

    Args:
        level: isolation level; there is one that holds a JVM.
        workers: pairs.
        user_namespace: take a user namespace even as root.

    Raises:
        AstraiosError: there is no JDK, or no level that holds a JVM.
    """

    def __init__(self, level: str, workers: int = 1, user_namespace: bool = False) -> None:
        if level != "namespaces":
            raise AstraiosError(f"Java programs run at isolation level namespaces only; this is {level}")
        home, _ = jdk()
        classes = _compiled()
        # Distributions keep parts of a JDK behind links into /etc.
        links = {os.path.realpath(path) for path in (home / "conf").rglob("*") if path.is_symlink()}
        config = {"/" + "/".join(Path(path).parts[1:3]) for path in links if path.startswith("/etc/")}
        outside = [str(home)] if not str(home).startswith("/usr/") else []
        java = str(home / "bin" / "java")
        self.jail = Jail(
            level,
            user_namespace=user_namespace,
            command=(java, *_OPTIONS, *_JUDGE, *_EXPORTS, "-cp", str(classes), "judge.Judge"),
            visible=(*outside, *sorted(config), str(classes)),
            environment={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            files=256,
            processes=256,
            proc=True,
        )
        self.runner = replace(self.jail, command=(java, *_OPTIONS, *_RUNNER, "-cp", str(classes), "judge.Runner"))
        self.size, self.pairs = workers, list[Pair]()
        self._life = os.pipe()

    def close(self) -> None:
        """End all JVMs."""
        self._forget()
        for descriptor in self._life:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._life = (-1, -1)

    def _forget(self) -> None:
        for pair in self.pairs:
            pair.close()
        self.pairs = []

    def judge(self, programs: Sequence[Program]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts as they come, with the index of the program."""
        for level in {program.level for program in programs}:
            check_level(level)
        todo = deque(range(len(programs)))
        again: set[int] = set()
        silent = 0
        while len(self.pairs) < min(self.size, len(programs)):
            self.pairs.append(Pair(self.jail, self.runner, self._life[0]))
        try:
            while todo or any(pair.index is not None for pair in self.pairs):
                for pair in self.pairs:
                    if todo and pair.index is None:
                        index = todo.popleft()
                        pair.ask(index, programs[index])
                self._wait()
                for place, pair in enumerate(self.pairs):
                    if pair.index is None:
                        continue
                    try:
                        verdict = self._hear(pair)
                    except EOFError:  # the judge's own JVM
                        index, ready, reason = pair.index, pair.judge.ready, pair.judge.close(5.0)
                        pair.runner.close()
                        silent = 0 if ready else silent + 1
                        if silent >= 3:
                            raise AstraiosError(f"no JVM starts in the sandbox: {reason}") from None
                        self.pairs[place] = Pair(self.jail, self.runner, self._life[0])
                        if index in again:
                            yield index, Verdict("failed", f"ended its judge twice: {reason}", self.jail.level)
                        else:
                            again.add(index)
                            todo.append(index)
                        continue
                    if verdict is not None:
                        index, pair.index = pair.index, None
                        yield index, verdict
        except GeneratorExit:
            self._forget()
            raise

    def _wait(self) -> None:
        """Until something has arrived or can be sent."""
        machines = [m for pair in self.pairs if pair.index is not None for m in (pair.judge, pair.runner)]
        full = [m.out for m in machines if m.leaving]
        self._arrived, can_send, _ = select.select([m.back for m in machines], full, [], 0.5)
        for machine in machines:
            if machine.out in can_send:
                machine.flush()

    def _hear(self, pair: Pair) -> Verdict | None:
        """The verdict, once it is there and the other JVM has come to rest.

        Raises:
            EOFError: the judge is gone.
        """
        spent: int | None = None
        runner = pair.runner
        if pair.judge.back in self._arrived:
            for frame in pair.judge.frames():
                pair.heard_judge(frame)
        if runner.back in self._arrived and pair.runner is runner:
            try:
                for frame in runner.frames():
                    spent = pair.heard_runner(frame)
                    if pair.runner is not runner:
                        break
            except EOFError:
                spent = self._ended(pair)
        if pair.verdict is None:
            if time.monotonic() > pair.deadline:
                if not pair.loaded:
                    raise EOFError
                pair.deadline += _SLACK
                pair.tell_gone("timeout")
            return None
        if pair.loaded and pair.plain and spent is None and time.monotonic() < pair.deadline:
            return None
        if pair.loaded and (not pair.plain or spent is None):
            pair.renew_runner()
        return Verdict(*pair.verdict, self.jail.level, (spent or 0) / 1000)

    @staticmethod
    def _ended(pair: Pair) -> int | None:
        """The program's JVM has ended; 0 where its verdict is known already."""
        if pair.verdict is not None:
            pair.renew_runner()
            return 0
        if pair.asked or pair.loaded:
            pair.asked = False
            pair.tell_gone("the program ended the JVM")
        else:
            pair.renew_runner()
        return None
