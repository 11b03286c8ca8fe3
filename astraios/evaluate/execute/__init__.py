"""Runs untrusted programs and says which of them pass their tests.

    with Engine() as engine:
        verdicts = engine.judge(programs)

See `isolation.LEVELS` for what the sandbox holds back.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

__all__ = ["Limits", "Program", "Verdict"]

RULES = 3
"""Raised whenever the same program could get another verdict than before; part of the cache key."""


@dataclass(frozen=True)
class Limits:
    """Limits of one program."""

    cpu_seconds: float = 10.0
    memory_bytes: int = 2 << 30
    """Beyond what the bare interpreter holds (Python); the JVM has a heap of its own."""
    wall_factor: float = 3.0
    """The wall cap is this many times the CPU limit. It ends programs that sleep; those that a busy machine keeps from
    running go on."""

    @property
    def wall_seconds(self) -> float:
        """Cap on wall time."""
        return self.cpu_seconds * self.wall_factor


@dataclass(frozen=True)
class Program:
    """One program with its test."""

    language: str
    """python or java."""
    code: str
    """The untrusted text."""
    test: str
    """The trusted text that follows it."""
    preamble: str = ""
    """Trusted text before it (Python's import helper)."""
    level: int | None = None
    """Java language level; None is the JDK's own."""
    limits: Limits = Limits()

    @cached_property
    def key(self) -> str:
        """Hash of all that decides the verdict."""
        parts = [RULES, self.language, self.level, self.preamble, self.code, self.test, self.limits.cpu_seconds,
                 self.limits.memory_bytes, self.limits.wall_factor]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a program."""

    verdict: str
    """passed, failed, timeout, memory, crashed, or broken (the sandbox, not the program)."""
    detail: str
    isolation: str
    """Level at which it was reached."""
    cpu_seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the tests passed."""
        return self.verdict == "passed"

    @property
    def judged(self) -> bool:
        """Whether the program itself was judged."""
        return self.verdict != "broken"
