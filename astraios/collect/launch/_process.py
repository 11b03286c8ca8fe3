"""The process of one cell on another machine, started there by a launcher's worker."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from astraios.collect.cell.process import PARENT, Request
from astraios.collect.launch import Orders
from astraios.collect.plan.job import Job
from astraios.files import write_atomically

PASSED_ON = ("ASTRAIOS_", "HF_", "HUGGING", "TRANSFORMERS_", "XDG_CACHE", "PYTHONPATH", "AWS_", "S3_")
"""Beginnings of the environment variables that a cell gets from where the sweep was started."""


ENDED = "== ended with code "


def environment(threads: int) -> dict[str, str]:
    """What a cell's process is to find in its environment, beside that of the machine that it runs on."""
    passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    return {**passed, "OMP_NUM_THREADS": str(threads)}


def write_request(job: Job, orders: Orders) -> Path:
    """CELL.json of a job, where its process will find it."""
    file = orders.folder / "cells" / f"{file_name(job.key)}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, Request.of(job, orders.sweep_json, orders.compute).to_json().encode())
    return file


def log_file(job: Job, orders: Orders) -> Path:
    """What a job's processes say, one after the other."""
    return orders.folder / "logs" / f"{file_name(job.key)}.log"


def file_name(key: str) -> str:
    """A job's key as the name of a file."""
    return key.replace("/", "-").replace(" ", "-")


def run(
    file: str, out: str, log: str, variables: dict[str, str], hear: Callable[[str], None] = lambda line: None
) -> tuple[int, str]:
    """Runs `astraios collect --cell` and waits for its end; the process ends when this one does.

    Args:
        file: CELL.json.
        out: folder of the run directories.
        log: file to which what it says is added; a folder that can't be written costs the log, not the cell.
        variables: added to the environment.
        hear: called with each line that it says.

    Returns:
        Its exit code and, where that is not 0, why, as far as it said.
    """
    command = [sys.executable, "-m", "astraios.cli", "collect", "--cell", file, "--out", out]
    reason = last = ""
    with contextlib.ExitStack() as stack:
        keep = _keeper(stack, log)
        keep("== started\n")
        process = stack.enter_context(
            subprocess.Popen(
                command,
                env={**os.environ, **variables, PARENT: "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        )
        stack.callback(process.kill)
        for line in process.stdout or ():
            keep(line)
            hear(line.rstrip())
            last = line.strip() or last
            if line.startswith("astraios: "):
                reason = line.removeprefix("astraios: ").strip()
        code = process.wait()
        if code:
            reason = reason or f"{how_it_ended(code)}{f': {last[:300]}' if last else ''}"
        keep(f"{ENDED}{code} {reason}\n")
    return code, reason if code else ""


def _keeper(stack: contextlib.ExitStack, log: str) -> Callable[[str], None]:
    """Adds text to the log; does nothing where that can't be written."""
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context(open(log, "a", encoding="utf-8"))  # noqa: SIM115
    except OSError:
        return lambda text: None

    def keep(text: str) -> None:
        with contextlib.suppress(OSError):
            file.write(text)
            file.flush()

    return keep


def last_words(log: Path) -> str | None:
    """Why the last process of a job failed ("" where it did not), or None where it did not live to say."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            last = file.read().decode(errors="replace").splitlines()[-1]
    except (OSError, IndexError):
        return None
    return last.removeprefix(ENDED).partition(" ")[2] if last.startswith(ENDED) else None


def how_it_ended(code: int | None) -> str:
    """An exit code in words."""
    how = f"was killed by signal {-code}" if code and code < 0 else f"ended with exit code {code}"
    return f"its process {how}{'; out of memory is the usual cause' if code == -9 else ''}"


def progress_of(line: str) -> tuple[str, int, int] | None:
    """Stage, how much is done and how much there is, of a line that says so."""
    words, _, share = line.rpartition(" ")
    done, _, total = share.partition("/")
    return (words, int(done), int(total)) if words and done.isdecimal() and total.isdecimal() else None
