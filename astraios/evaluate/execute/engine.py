"""The engine: what is known is looked up, identical programs run once, the rest goes to the jailed workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from astraios.errors import UsageError, did_you_mean
from astraios.evaluate.execute import Program, Verdict
from astraios.evaluate.execute.cache import VerdictCache
from astraios.evaluate.execute.isolation import choose

Progress = Callable[[int, int], None]
"""Called with programs done and programs in all."""


class Pool(Protocol):
    """What a language has to offer to be judged."""

    def judge(self, programs: Sequence[Program]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts as they come, with the index of the program."""
        ...

    def close(self) -> None:
        """End all processes."""
        ...


def _python(engine: Engine) -> Pool:
    from astraios.evaluate.execute.pool import PythonPool

    return PythonPool(engine.level, engine.workers, engine.user_namespace)


def _java(engine: Engine) -> Pool:
    from astraios.evaluate.execute.java import JavaPool

    return JavaPool(engine.level, engine.workers, engine.user_namespace)


LANGUAGES: dict[str, Callable[[Engine], Pool]] = {"python": _python, "java": _java}
"""A language is a function that makes its pool of workers."""


class Engine:
    """Judges programs. Use it as a context manager; its workers stay warm until it ends.

    Args:
        workers: jailed processes a language; default one a core.
        isolation: level, or "auto" for the strongest that this machine offers.
        cache: file of verdicts; None remembers within this engine only.
        share: judge identical programs once.
        user_namespace: take user namespaces even as root.
    """

    def __init__(
        self,
        workers: int | None = None,
        isolation: str = "auto",
        cache: Path | None = None,
        share: bool = True,
        user_namespace: bool = False,
    ) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self.level = choose(isolation)
        self.share, self.user_namespace = share, user_namespace
        self.cache = VerdictCache(cache)
        self.executed = 0
        """Programs that were run, not looked up."""
        self._pools: dict[str, Pool] = {}

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers and close the cache."""
        for pool in self._pools.values():
            pool.close()
        self._pools = {}
        self.cache.close()

    def judge(self, programs: Sequence[Program], progress: Progress | None = None) -> list[Verdict]:
        """A verdict for each program, in their order.

        Raises:
            UsageError: a language that the engine does not know.
            AstraiosError: the sandbox or the language's tools can't be had.
        """
        verdicts: list[Verdict | None] = [None] * len(programs)
        waiting: dict[str, list[int]] = {}
        for index, program in enumerate(programs):
            known = self.cache.get(program.key) if self.share else None
            if known:
                verdicts[index] = known
            else:
                waiting.setdefault(program.key if self.share else str(index), []).append(index)
        done = len(programs) - sum(map(len, waiting.values()))
        for language in {programs[group[0]].language for group in waiting.values()}:
            groups = [group for group in waiting.values() if programs[group[0]].language == language]
            for number, verdict in self._pool(language).judge([programs[group[0]] for group in groups]):
                self.executed += 1
                program = programs[groups[number][0]]
                if self.share:
                    self.cache.put(program.key, verdict, language)
                for index in groups[number]:
                    verdicts[index] = verdict
                done += len(groups[number])
                if progress:
                    progress(done, len(programs))
        if progress:
            progress(len(programs), len(programs))
        return [verdict for verdict in verdicts if verdict is not None]

    def _pool(self, language: str) -> Pool:
        if language not in LANGUAGES:
            raise UsageError(f"unknown language {language!r}: {did_you_mean(language, LANGUAGES)}")
        if language not in self._pools:
            self._pools[language] = LANGUAGES[language](self)
        return self._pools[language]
