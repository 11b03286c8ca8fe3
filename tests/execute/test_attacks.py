"""The attack suite at every isolation level of this machine: contained, judged as failed, the machine untouched."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from astraios.evaluate.execute import Limits, Program
from astraios.evaluate.execute.isolation import isolation
from astraios.evaluate.execute.pool import PythonPool
from tests.execute import attacks, attacks_java
from tests.execute.attacks_forged import FORGED
from tests.execute.attacks_java_forged import FORGED as FORGED_JAVA

pytestmark = pytest.mark.promise("attacks on the judge fail")
LIMITS = Limits(cpu_seconds=1, memory_bytes=256 << 20, wall_factor=2)
GOOD = "def f(x):\n    return x * x"
LEVELS = [("namespaces", False), ("namespaces", True), ("confined", False)]


class Canary:
    """Files and a listener of the machine that no program may touch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "canary.txt"
        self.file.write_text("secret")
        (folder / "kept").mkdir()
        (folder / "kept" / "inner.txt").write_text("kept")
        self.folder.chmod(0o777)
        self.file.chmod(0o666)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.server.getsockname()[1]))
        self.datagrams.setblocking(False)
        self.before = self.state()

    def fill(self, text: str) -> str:
        port = str(self.server.getsockname()[1])
        text = text.replace("CANARY", str(self.file)).replace("FOLDER", str(self.folder))
        return text.replace("PORT", port).replace("HOST_PID", str(os.getpid()))

    def state(self) -> dict[str, str]:
        return {str(path): path.read_text() for path in sorted(self.folder.rglob("*")) if path.is_file()}

    def assert_untouched(self) -> None:
        assert self.state() == self.before
        with pytest.raises(BlockingIOError):
            self.server.accept()
        with pytest.raises(BlockingIOError):
            self.datagrams.recv(1)


@pytest.fixture
def canary() -> Iterator[Canary]:
    # Not below /tmp, which a jail covers anyway: in the working folder, where a leak would show.
    folder = Path("canary-" + os.urandom(4).hex()).absolute()
    folder.mkdir()
    found = Canary(folder)
    yield found
    found.server.close()
    found.datagrams.close()
    shutil.rmtree(folder)


def processes() -> set[int]:
    """Processes that descend from this one."""
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True)}


def settled(before: set[int], expected: int) -> set[int]:
    """Processes that are new since `before`, once those that are ending have had a moment to end."""
    for _ in range(50):
        running = processes() - before
        if len(running) <= expected:
            break
        time.sleep(0.1)
    return running


@pytest.mark.parametrize(("level", "user_namespace"), LEVELS)
def test_python_attacks(level: str, user_namespace: bool, canary: Canary) -> None:
    if isolation().reasons[level] != "available":
        pytest.skip(f"{level}: {isolation().reasons[level]}")
    names = list(attacks.PYTHON)
    before, folder = processes(), set(Path.cwd().iterdir())
    programs = [
        Program("python", canary.fill(text), attacks.TEST, preamble="from typing import *\n", limits=LIMITS)
        for name in names
        for text in (attacks.PYTHON[name], GOOD)
    ]
    pool = PythonPool(level, 2, user_namespace)
    try:
        verdicts = [verdict for _, verdict in sorted(pool.judge(programs), key=lambda pair: pair[0])]
        running = settled(before, 20)
    finally:
        pool.close()
    passed = [name for name, verdict in zip(names, verdicts[::2], strict=True) if verdict.passed]
    assert passed == []
    insane = [name for name, verdict in zip(names, verdicts[1::2], strict=True) if not verdict.passed]
    assert insane == [], "the engine was not sane after these"
    assert all(verdict.verdict != "broken" for verdict in verdicts)
    assert len(running) <= 20, "two guards, a worker, a judge and its keeper, twice with numpy and twice without"
    assert processes() <= before
    canary.assert_untouched()
    assert set(Path.cwd().iterdir()) == folder


@pytest.mark.parametrize(("level", "user_namespace"), LEVELS)
def test_lies_over_the_channel(level: str, user_namespace: bool, request: pytest.FixtureRequest) -> None:
    """A right program passes after each; a third of them without --verify."""
    if isolation().reasons[level] != "available":
        pytest.skip(f"{level}: {isolation().reasons[level]}")
    names = list(FORGED)[:: 1 if request.config.getoption("--verify") else 3]
    before, programs = processes(), []
    for name in names:
        code, test = FORGED[name] if isinstance(FORGED[name], tuple) else (FORGED[name], attacks.TEST)
        programs += [Program("python", code, test, limits=LIMITS), Program("python", GOOD, attacks.TEST, limits=LIMITS)]
    pool = PythonPool(level, 2, user_namespace)
    try:
        verdicts = [verdict for _, verdict in sorted(pool.judge(programs), key=lambda pair: pair[0])]
    finally:
        pool.close()
    assert [name for name, verdict in zip(names, verdicts[::2], strict=True) if verdict.passed] == []
    assert {n: v for n, v in zip(names, verdicts[1::2], strict=True) if not v.passed} == {}
    assert all(verdict.detail.isprintable() and len(verdict.detail) < 200 for verdict in verdicts)
    assert settled(before, 0) == set()


@pytest.mark.parametrize("level", ["namespaces", "confined"])
def test_hog_dies_of_the_memory_limit(level: str) -> None:
    hog = "def f(x):\n    a = []\n    while True:\n        a.append(bytearray(1 << 20))"
    small = "def f(x):\n    a = [bytearray(1 << 20) for _ in range(50)]\n    return x * x"
    pool = PythonPool(level, 1)
    programs = [Program("python", text, attacks.TEST, limits=Limits(5, 100 << 20)) for text in (hog, small)]
    verdicts = dict(pool.judge(programs))
    pool.close()
    assert verdicts[0].verdict == "memory"
    assert verdicts[0].cpu_seconds < 4
    assert verdicts[1].passed


@pytest.mark.skipif(not shutil.which("javac"), reason="no JDK on this machine")
def test_java_attacks(canary: Canary, request: pytest.FixtureRequest) -> None:
    """All of them with --verify, a third without; a right program after each."""
    from astraios.evaluate.execute.java import JavaPool

    bodies = {**attacks.JAVA, **attacks_java.BODIES}
    texts = {name: attacks.JAVA_HEAD + canary.fill(body) + attacks.JAVA_TAIL for name, body in bodies.items()}
    texts |= attacks_java.PROGRAMS
    tested = {name: (text, attacks.JAVA_TEST) for name, text in texts.items()}
    tested |= {name: one if isinstance(one, tuple) else (one, attacks.JAVA_TEST) for name, one in FORGED_JAVA.items()}
    names, before = list(tested)[:: 1 if request.config.getoption("--verify") else 3], processes()
    right = attacks.JAVA_HEAD + "return x * x;" + attacks.JAVA_TAIL
    programs = [
        Program("java", text, test, limits=LIMITS)
        for name in names
        for text, test in (tested[name], (right, attacks.JAVA_TEST))
    ]
    pool = JavaPool("namespaces", 2)
    try:
        verdicts = [verdict for _, verdict in sorted(pool.judge(programs), key=lambda pair: pair[0])]
    finally:
        pool.close()
    assert [name for name, verdict in zip(names, verdicts[::2], strict=True) if verdict.passed] == []
    assert {n: v for n, v in zip(names, verdicts[1::2], strict=True) if not v.passed} == {}
    assert settled(before, 0) == set()
    canary.assert_untouched()
