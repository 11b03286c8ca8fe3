"""Java: one jailed, warm JVM a worker, which compiles in memory (Judge.java says how)."""

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
from functools import cache
from pathlib import Path

from astraios.errors import AstraiosError, UsageError
from astraios.evaluate.execute import Program, Verdict
from astraios.evaluate.execute.isolation import Jail

_SOURCE = Path(__file__).with_name("Judge.java")
_OPTIONS = (
    "-Xms64m", "-Xmx1g", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
    "-XX:MaxMetaspaceSize=512m", "-XX:MaxDirectMemorySize=64m", "-XX:-StackTraceInThrowable",
)  # fmt: skip
_EXPORTS = tuple(f"--add-exports=jdk.compiler/com.sun.tools.javac.{name}=ALL-UNNAMED" for name in ("api", "platform"))
_READY = b"ready"
_REACHES = re.compile(
    r"\b(?:Runtime|ClassLoader|reflect|Thread|Unsafe|Process\w*|Security|setDefault|System\s*\.\s*set\w+)\b"
)
"""Programs with these words may change the JVM for those after them: it is renewed."""
_SLACK = 30.0
"""Seconds beyond the wall cap after which a silent JVM is killed (compilation counts in none of the limits)."""


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
    text = _SOURCE.read_bytes()
    name = f"judge-{version}-{hashlib.sha256(text + str(home).encode()).hexdigest()[:16]}"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "astraios"
    target = base / name
    if not (target / "Judge.class").exists():
        building = base / f"{name}-{secrets.token_hex(4)}"
        building.mkdir(parents=True)
        command = [str(home / "bin" / "javac"), "-nowarn", *_EXPORTS, "-d", str(building), str(_SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise AstraiosError(f"the Java judge does not compile with {home}: {done.stderr.strip().splitlines()[-1:]}")
        with contextlib.suppress(OSError):  # somebody else was faster
            building.rename(target)
    return target


class Machine:
    """One jailed JVM."""

    def __init__(self, jail: Jail, life: int) -> None:
        self.process = jail.start(life)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.out, self.back = self.process.stdin, self.process.stdout
        self.buffer = b""
        self.ready = False
        self.count = 0
        self.program: int | None = None
        self.nonce = ""
        self.deadline = 0.0

    def ask(self, index: int, program: Program) -> None:
        """Send one program; its reply is awaited until `deadline`."""
        self.program, self.nonce = index, secrets.token_hex(16)
        self.count += 1
        self.suspect = bool(_REACHES.search(program.code))
        self.deadline = time.monotonic() + 10 * program.limits.wall_seconds + _SLACK
        cpu, wall = int(program.limits.cpu_seconds * 1000), int(program.limits.wall_seconds * 1000)
        level = "" if program.level is None else str(program.level)
        source = program.preamble + program.code + program.test
        data = b""
        for text in (self.nonce, level, str(cpu), str(wall), source):
            raw = text.encode("utf-8", "replace")
            data += len(raw).to_bytes(4, "big") + raw
        with contextlib.suppress(BrokenPipeError):  # its end shows as EOF of the replies
            while data:
                data = data[os.write(self.out.fileno(), data) :]

    def reply(self) -> list[str] | None:
        """The five fields of a reply, or None while it is incomplete.

        Raises:
            EOFError: the JVM is gone, or what came is no reply of the judge.
        """
        part = os.read(self.back.fileno(), 1 << 16)
        if not part:
            raise EOFError
        self.buffer += part
        if not self.ready:
            if not self.buffer.startswith(_READY):
                return None
            self.ready, self.buffer = True, self.buffer[len(_READY) :]
        expected = len(self.nonce).to_bytes(4, "big") + self.nonce.encode()
        if not self.buffer.startswith(expected[: len(self.buffer)]):
            raise EOFError
        fields: list[str] = []
        rest = self.buffer
        while len(fields) < 5:
            size = int.from_bytes(rest[:4], "big")
            if len(rest) < 4 or len(rest) < 4 + size:
                return None
            fields.append(rest[4 : 4 + size].decode("utf-8", "replace"))
            rest = rest[4 + size :]
        self.buffer = b""
        if rest:
            raise EOFError
        return fields

    def close(self, patience: float = 5.0) -> str:
        """End the JVM, by force where it does not end by itself; the last line that it said."""
        for pipe in (self.out, self.back):
            pipe.close()
        try:
            self.process.wait(0.0 if self.program is not None and self.ready else patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        error = self.process.stderr.read().decode("utf-8", "replace") if self.process.stderr else ""
        if self.process.stderr:
            self.process.stderr.close()
        lines = error.strip().splitlines()
        return lines[-1] if lines else "the JVM ended"


class JavaPool:
    """Judges Java programs in `workers` jailed JVMs.

    Args:
        level: isolation level; "weak" is refused, since nothing tells plain Java from the rest.
        workers: JVMs.
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
        self.jail = Jail(
            level,
            user_namespace=user_namespace,
            command=(str(home / "bin" / "java"), *_OPTIONS, *_EXPORTS, "-cp", str(classes), "Judge"),
            visible=(*outside, *sorted(config), str(classes)),
            environment={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            files=256,
            processes=256,
            proc=True,
        )
        self.size, self.machines = workers, list[Machine]()
        self._life = os.pipe()

    def close(self) -> None:
        """End all JVMs."""
        for machine in self.machines:
            machine.close()
        self.machines = []
        for descriptor in self._life:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._life = (-1, -1)

    def judge(self, programs: Sequence[Program]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts as they come, with the index of the program."""
        for level in {program.level for program in programs}:
            check_level(level)
        todo = deque(range(len(programs)))
        silent = 0
        while len(self.machines) < min(self.size, len(programs)):
            self.machines.append(Machine(self.jail, self._life[0]))
        try:
            while todo or any(machine.program is not None for machine in self.machines):
                for machine in self.machines:
                    if todo and machine.program is None:
                        index = todo.popleft()
                        machine.ask(index, programs[index])
                ready, _, _ = select.select([m.back for m in self.machines if m.program is not None], [], [], 0.5)
                for machine in list(self.machines):
                    late = machine.program is not None and time.monotonic() > machine.deadline
                    if machine.back not in ready and not late:
                        continue
                    index = machine.program if machine.program is not None else -1
                    verdict = self._hear(machine, late)
                    if verdict is None:
                        continue
                    if verdict.verdict == "again":
                        todo.append(index)
                        continue
                    silent = silent + 1 if verdict.verdict == "broken" else 0
                    if silent >= 3:
                        raise AstraiosError(f"no JVM starts in the sandbox: {verdict.detail}")
                    yield index, verdict
        except GeneratorExit:
            for machine in self.machines:
                machine.close()
            self.machines = []
            raise

    def _hear(self, machine: Machine, late: bool) -> Verdict | None:
        """The verdict, or None while it is not complete; a JVM that is spent is replaced."""
        level = self.jail.level
        try:
            fields = None if late else machine.reply()
            if fields is None and not late:
                return None
        except EOFError:
            started, reason = machine.ready, self._renew(machine)
            if not started:
                return Verdict("broken", reason, level)
            return Verdict("failed", "the program ended the JVM", level)
        if fields is None:
            self._renew(machine)
            return Verdict("timeout", "", level)
        machine.program = None
        _, status, detail, spent, state = fields
        if state != "clean" or machine.suspect:
            self._renew(machine)
        if status == "broken":
            # A compiler that fails in a used JVM may suffer from the program before: ask a fresh one.
            status = "again" if machine.count > 1 else "failed"
        return Verdict(status, detail, level, int(spent) / 1000)

    def _renew(self, machine: Machine) -> str:
        reason = machine.close()
        self.machines[self.machines.index(machine)] = Machine(self.jail, self._life[0])
        return reason
