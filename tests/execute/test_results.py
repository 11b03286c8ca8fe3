"""What a program returns is judged as in one process, whatever its kind; and nothing carries over to the next."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from astraios.evaluate.execute import Limits, Program
from astraios.evaluate.execute.isolation import isolation
from astraios.evaluate.execute.pool import PythonPool
from astraios.evaluate.score import score_generations, score_options
from astraios.evaluate.tasks._humaneval import HELPER
from tests.execute import attacks, carried, grammar, results, right

LIMITS = Limits(cpu_seconds=2, memory_bytes=512 << 20, wall_factor=2)
GOOD = "def f(x):\n    return x * x"
LEVELS = [("namespaces", False), ("namespaces", True), ("confined", False)]


def judged(level: str, user_namespace: bool, programs: list[Program], workers: int = 2) -> list[str]:
    """Verdicts in words."""
    if isolation().reasons[level] != "available":
        pytest.skip(f"{level}: {isolation().reasons[level]}")
    pool = PythonPool(level, workers, user_namespace)
    try:
        verdicts = sorted(pool.judge(programs), key=lambda pair: pair[0])
    finally:
        pool.close()
    return [f"{verdict.verdict} {verdict.detail}".strip() for _, verdict in verdicts]


@pytest.mark.parametrize(("level", "user_namespace"), LEVELS)
def test_results_of_every_kind(level: str, user_namespace: bool) -> None:
    pairs = [*results.RIGHT, *results.WRONG]
    programs = [Program("python", code, test, preamble=HELPER, limits=LIMITS) for code, test in pairs]
    said = judged(level, user_namespace, programs)
    right, wrong = said[: len(results.RIGHT)], said[len(results.RIGHT) :]
    assert {results.RIGHT[i]: word for i, word in enumerate(right) if word != "passed"} == {}
    assert [results.WRONG[i] for i, word in enumerate(wrong) if word == "passed"] == []


def test_issue_cases_are_judged_right(shared: Path) -> None:
    folder = shared / "cases" / "import" / "python-verdicts"
    options = score_options("humanevalfix-python", data_dir=folder / "gold", workers=2)
    result = score_generations(folder / "generations.json", "humanevalfix-python", options)
    assert [sample.verdict for sample in result.samples] == ["timeout"] * 2 + ["passed"] * 7


@pytest.mark.parametrize(("level", "user_namespace"), LEVELS)
def test_nothing_carries_over(level: str, user_namespace: bool) -> None:
    cores = str(len(os.sched_getaffinity(0)))
    pairs = []
    for attack, probe in carried.CARRIED.values():
        statements = probe.replace("CORES", cores).replace("WRITES", str(level == "namespaces"))
        statements = statements.replace("NICE", str(os.nice(0)))
        pairs += [attack, f"{statements}\n{GOOD}"]
    programs = [Program("python", text, attacks.TEST, limits=LIMITS) for text in pairs]
    said = judged(level, user_namespace, programs, workers=1)  # so that each follows upon the last in one jail
    names = list(carried.CARRIED)
    assert [names[i] for i, word in enumerate(said[::2]) if word == "passed"] == []
    assert {names[i]: word for i, word in enumerate(said[1::2]) if word != "passed"} == {}


@pytest.mark.parametrize(("level", "user_namespace"), LEVELS)
def test_no_road_to_the_verdict(level: str, user_namespace: bool, request: pytest.FixtureRequest) -> None:
    """Every trick with every aim; a third of them without --verify."""
    texts = grammar.crossed()
    names = list(texts)[:: 1 if request.config.getoption("--verify") else 3]
    programs = [
        Program("python", text, attacks.TEST, preamble="from typing import *\n", limits=LIMITS)
        for name in names
        for text in (texts[name], GOOD)
    ]
    said = judged(level, user_namespace, programs)
    assert [names[i] for i, word in enumerate(said[::2]) if word == "passed"] == []
    assert {names[i]: word for i, word in enumerate(said[1::2]) if word != "passed"} == {}


def test_generated_attacks_forge_nothing(request: pytest.FixtureRequest) -> None:
    n = 1000 if request.config.getoption("--verify") else 60
    texts = [grammar.program(random.Random(seed)) for seed in range(n)]
    said = judged("namespaces", False, [Program("python", text, attacks.TEST, limits=LIMITS) for text in texts])
    assert [texts[i] for i, word in enumerate(said) if word == "passed"] == []


def test_a_test_never_reaches_the_process_of_a_program() -> None:
    """Its own memory, searched whole: no text of the test, no number that only the test has."""
    spy = (
        "import gc, sys\n"
        "def f(x):\n"
        "    seen = [repr(o)[:10000] for o in gc.get_objects() if isinstance(o, (list, dict, tuple))]\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n"
        "        seen.append(repr(frame.f_locals)); frame = frame.f_back\n"
        "    return any(''.join(['48', '271']) in s for s in seen)"
    )
    test = "assert f(1) is False\nassert 48271 == 48271\nassert f('x') is False"
    assert judged("namespaces", False, [Program("python", spy, test, limits=Limits(20))]) == ["passed"]


def test_a_program_may_end_its_jail_without_harm_to_others() -> None:
    """Judges that end in the middle of a program: it has failed, and those around it are judged."""
    slow = "def f(x):\n    return range(10 ** 18)"
    test = "assert sum(f(1)) == 0"
    right = Program("python", GOOD, attacks.TEST, limits=LIMITS)
    said = judged("namespaces", False, [Program("python", slow, test, limits=Limits(1)), right, right])
    assert said[0].startswith("timeout")
    assert said[1:] == ["passed", "passed"]


def test_five_hundred_right_programs_pass(request: pytest.FixtureRequest) -> None:
    """All of them with --verify, a fifth without; each passes in one process, too."""
    found = right.programs()
    assert len(found) >= 500
    names = list(found)[:: 1 if request.config.getoption("--verify") else 5]
    for name in names:
        code, test = found[name]
        exec(f"{code}\n{test}", {})
    said = judged("namespaces", False, [Program("python", *found[name], limits=LIMITS) for name in names])
    assert {name: word for name, word in zip(names, said, strict=True) if word != "passed"} == {}
