"""The engine: sharing, the cache, workers that die, load, limits; and what is never deleted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from astraios.errors import AstraiosError, StoreError, UsageError
from astraios.evaluate.execute import Limits, Program, Verdict
from astraios.evaluate.execute.cache import VerdictCache
from astraios.evaluate.execute.engine import Engine
from astraios.evaluate.execute.isolation import LEVELS, choose, doctor, isolation
from astraios.evaluate.execute.pool import PythonPool

TEST = "def check(f):\n    assert f(2) == 4\ncheck(f)\n"
GOOD, BAD = "def f(x):\n    return x * x", "def f(x):\n    return x"


def program(code: str, cpu: float = 2.0) -> Program:
    return Program("python", code, TEST, limits=Limits(cpu))


def test_identical_programs_run_once(tmp_path: Path) -> None:
    programs = [program(GOOD), program(BAD), program(GOOD), program(GOOD)]
    seen: list[tuple[int, int]] = []
    with Engine(1, cache=tmp_path / "verdicts.jsonl") as engine:
        verdicts = engine.judge(programs, lambda done, total: seen.append((done, total)))
        assert [verdict.passed for verdict in verdicts] == [True, False, True, True]
        assert engine.executed == 2
        assert seen[-1] == (4, 4)
    with Engine(1, cache=tmp_path / "verdicts.jsonl") as engine:
        assert [verdict.passed for verdict in engine.judge(programs)] == [True, False, True, True]
        assert engine.executed == 0
    with Engine(1, share=False) as engine:
        engine.judge(programs)
        assert engine.executed == 4


def test_key_holds_all_that_decides() -> None:
    base = Program("java", "a", "b")
    others = [
        Program("python", "a", "b"),
        Program("java", "b", "b"),
        Program("java", "a", "a"),
        Program("java", "a", "b", level=8),
        Program("java", "a", "b", limits=Limits(3)),
        Program("java", "a", "b", preamble="c"),
    ]
    assert len({base.key, *(other.key for other in others)}) == 7
    assert base.key == Program("java", "a", "b").key


def test_cache_passes_over_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with VerdictCache(path) as cache:
        cache.put("a", Verdict("passed", "", "namespaces"), "python")
    with path.open("a") as file:
        file.write('{"key": "b", "verd')
    with VerdictCache(path) as cache:
        assert list(cache) == ["a"]
        cache.put("b", Verdict("failed", "", "namespaces"), "python")
        cache.put("c", Verdict("broken", "no JVM", "namespaces"), "python")
    with VerdictCache(path) as cache:
        assert sorted(cache) == ["a", "b"], "broken says nothing about the program and is not kept"


def test_foreign_file_is_no_cache(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these\nare\nnotes\n")
    with pytest.raises(StoreError, match="no verdict cache"):
        VerdictCache(path)


def test_dead_worker_is_replaced() -> None:
    pool = PythonPool("namespaces" if isolation().level == "namespaces" else "confined", 1)
    try:
        assert dict(pool.judge([program(GOOD)]))[0].passed
        pool.crews[False].workers[0].runner.kill()
        assert [verdict.passed for _, verdict in sorted(pool.judge([program(GOOD), program(BAD)]))] == [True, False]
    finally:
        pool.close()


def test_nothing_is_left_when_the_starter_is_killed() -> None:
    import psutil

    code = (
        "from tests.execute.test_engine import *\n"
        "engine = Engine(2)\n"
        "import psutil\nengine.judge([program(GOOD)])\n"
        "print([child.pid for child in psutil.Process().children(recursive=True)], flush=True)\n"
        "engine.judge([program('def f(x):\\n    while True: pass', 100)])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    children = json.loads(process.stdout.readline())
    assert children
    time.sleep(0.3)
    process.kill()
    process.wait()
    process.stdout.close()
    end = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in children) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in children)


@pytest.mark.promise("nothing is judged twice or lost")
def test_interrupted_ten_times_nothing_judged_twice_or_lost(tmp_path: Path) -> None:
    path, n = tmp_path / "verdicts.jsonl", 90
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from tests.execute.test_engine import *\n"
        f"programs = [program('def f(x):\\n    return x * x + (%d %% 3)' % i) for i in range({n})]\n"
        f"with Engine(2, cache=Path({str(path)!r})) as engine:\n"
        "    verdicts = engine.judge(programs)\n"
        "print(sum(v.passed for v in verdicts), engine.executed)\n"
    )
    rng, kills, executed = random.Random(0), 0, None
    code = code.replace("return x * x +", "sum(range(200000)); return x * x +").replace(
        "+ (%d %% 3)'", "+ (%d %% 3)  # %d'"
    )
    code = code.replace("% i)", "% (i, i))")
    while executed is None:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        if kills < 10:
            before = len(path.read_bytes().split(b"\n")) if path.exists() else 0
            target, end = before + rng.randint(1, 6), time.monotonic() + 60
            while process.poll() is None and time.monotonic() < end:
                if path.exists() and len(path.read_bytes().split(b"\n")) >= target:
                    break
                time.sleep(0.002)
            process.send_signal(rng.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM]))
            kills += 1
        output = process.communicate()[0]
        if process.returncode == 0:
            executed = output.split()
    assert kills == 10
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == n
    assert executed[0] == str(n // 3)


def test_sleeper_is_ended_and_its_cpu_is_not_charged() -> None:
    pool = PythonPool(choose(), 1)
    limits = Limits(cpu_seconds=1, wall_factor=1)
    try:
        begin = time.monotonic()
        ((_, verdict),) = pool.judge(
            [Program("python", "import time\ndef f(x):\n    time.sleep(60)", TEST, limits=limits)]
        )
    finally:
        pool.close()
    assert verdict.verdict == "timeout"
    assert verdict.cpu_seconds < 0.5
    assert time.monotonic() - begin < 30


def test_scratch_deletes_only_inside_the_jail(tmp_path: Path) -> None:
    """Outside of the jail the clean-up refuses, whatever path it holds; the other level has no clean-up at all."""
    (tmp_path / "precious").write_text("kept")
    code = (
        "import sys, runpy, json\n"
        "sys.argv = ['jail', json.dumps({'command': [], 'level': 'none'})]\n"
        "import importlib.util, os\n"
        "source = open(sys.path[0] + '/jail.py').read().replace('\\nmain()\\n', '\\n')\n"
        "space = {'__file__': sys.path[0] + '/jail.py', '__name__': 'jail'}\n"
        "exec(compile(source, 'jail.py', 'exec'), space)\n"
        f"try:\n    space['Scratch']({str(tmp_path)!r})\n"
        "except RuntimeError as error:\n    print(error)\n"
        "scratch = space['Scratch']('/scratch-that-does-not-exist')\n"
        f"scratch.path = {str(tmp_path)!r}\n"
        "try:\n    scratch.clean()\n"
        "except RuntimeError as error:\n    print(error)\n"
    )
    inside = Path(__file__).parents[2] / "astraios" / "evaluate" / "execute" / "inside"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(inside)!r})\n{code}"],
        capture_output=True,
        text=True,
    )
    assert "exists outside the jail" in done.stdout, done.stderr
    assert "nothing is deleted" in done.stdout
    assert (tmp_path / "precious").read_text() == "kept"


def test_levels_are_chosen_in_words() -> None:
    with pytest.raises(UsageError, match="weak is gone"):
        choose("weak")
    with pytest.raises(UsageError, match="did you mean 'namespaces'"):
        choose("namespace")
    found = doctor()
    assert found["isolation"] in LEVELS
    assert set(found["levels"]) == set(LEVELS)  # type: ignore[call-overload]


def test_no_java_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from astraios.evaluate.execute import java

    java.jdk.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    try:
        with pytest.raises(AstraiosError, match="need a JDK") as caught:
            java.jdk()
    finally:
        java.jdk.cache_clear()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/usr/bin/python3").exists(), reason="needs root to become somebody else"
)
def test_unprivileged_user_gets_namespaces_too() -> None:
    """As another user, with the system's Python: the sandbox through a user namespace."""
    repository = str(Path(__file__).parents[2])
    code = (
        "import os, sys\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
        f"sys.path.insert(0, {repository!r})\n"
        "from astraios.evaluate.execute.isolation import isolation\n"
        "print(isolation().level, dict(isolation().reasons))\n"
        "from astraios.evaluate.execute import Program\n"
        "from astraios.evaluate.execute.pool import PythonPool\n"
        f"pool = PythonPool(isolation().level, 1)\n"
        f"print([v.verdict for _, v in sorted(pool.judge([Program('python', {GOOD!r}, {TEST!r}),"
        f" Program('python', 'import os; os._exit(0)', {TEST!r})]), key=lambda p: p[0])])\n"
        "pool.close()\n"
    )
    done = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, cwd="/")
    if "SyntaxError" in done.stderr or "version" in done.stderr:
        pytest.skip("the system's Python is too old")
    assert done.stdout.splitlines()[1:] == ["['passed', 'failed']"], done.stdout + done.stderr
