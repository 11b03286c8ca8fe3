"""vLLM engines as actors on a Ray cluster, one or more GPUs each: samples go to whichever engine is free.

An engine that is lost with its machine hands its samples to the others, and another is started in its place where the
cluster has room. Samples have seeds of their own, so how many engines there are changes nothing but rounding.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError, UsageError
from astraios.evaluate.generate.requests import Request
from astraios.evaluate.generate.vllm import Server
from astraios.ray_cluster import join

if TYPE_CHECKING:
    from astraios.evaluate.tasks import Decoding

CHUNK = 128
"""Samples an engine is handed at once; less than a single engine's, so that all end at about the same time."""
LOSSES = 3
"""Engines lost one after the other, without an answer in between, after which it is given up."""


class Fleet:
    """Engines for one model.

    Args:
        model: hub id, or a folder that every machine of the cluster can read.
        adapter: folder of a LoRA adapter to put on it, likewise.
        seed: of the samples.
        address: HOST:PORT of a cluster's head, auto for the one that $RAY_ADDRESS names, here to start one.
        engines: how many.
        device: cpu takes no GPU; else each engine takes `tensor_parallel_size` (an option; 1) of them.
        options: more arguments of `vllm.LLM`.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: no engine is asked for.
        StoreError: there is no such cluster.
        CellError: it has not the GPUs for one engine, or the model can't be loaded.
    """

    def __init__(
        self,
        model: str,
        adapter: Path | None = None,
        seed: int = 0,
        *,
        address: str = "here",
        engines: int = 1,
        device: str | None = None,
        **options: Any,
    ) -> None:
        if engines < 1:
            raise UsageError(f"--engines {engines}: must be at least 1")
        join(None if address == "here" else address, "--ray")
        import ray

        gpus = 0 if device == "cpu" else int(options.get("tensor_parallel_size", 1))
        if ray.cluster_resources().get("GPU", 0) < gpus:
            has = f"{ray.cluster_resources().get('GPU', 0):g}"
            self.close()
            raise CellError(
                f"--ray {address}: an engine needs {gpus} GPU, and the cluster has {has}: "
                "add a machine that has one, or say --device cpu"
            )
        arguments = (model, adapter.resolve() if adapter else None, seed)
        kind = ray.remote(num_gpus=gpus, max_restarts=0)(Server)
        self._start = lambda: kind.remote(*arguments, **options)
        self.idle: deque[Any] = deque()
        self.starting: dict[Any, Any] = {}
        """Engines that are not there yet, by the reference that comes true when they are."""
        self.lost = 0
        for _ in range(engines):
            self._add()
        self.longest = self._first()

    def generator(self, decoding: Decoding) -> Spread:
        """Answers under a decoding."""
        return Spread(self, decoding)

    def settle(self, reference: Any) -> Any:
        """What an engine gave, or None where it was lost.

        Raises:
            CellError: it failed by itself, or too many were lost.
        """
        import ray
        from ray import exceptions

        try:
            found = ray.get(reference)
        except exceptions.RayTaskError as error:
            raise CellError(_line(error)) from None
        except exceptions.RayActorError as error:
            self.lost += 1
            if self.lost >= LOSSES or "creation task" in str(error):
                raise CellError(f"vLLM engines on the cluster keep ending: {_line(error)}") from None
            self._add()
            return None
        self.lost = 0
        return found

    def close(self) -> None:
        """Ends the engines."""
        import ray

        with contextlib.suppress(Exception):
            ray.shutdown()

    def _add(self) -> None:
        engine: Any = self._start()
        self.starting[engine.length.remote()] = engine

    def _first(self) -> int:
        """Waits for one engine; the longest sequence that it takes."""
        import ray

        while True:
            [reference], _ = ray.wait(list(self.starting), num_returns=1)
            engine = self.starting.pop(reference)
            longest = self.settle(reference)
            if longest is not None:
                self.idle.append(engine)
                return int(longest)


class Spread:
    """A fleet under one decoding."""

    def __init__(self, fleet: Fleet, decoding: Decoding) -> None:
        self.fleet, self.decoding = fleet, decoding

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[Request, str]]:
        """Answers, a chunk at a time, as engines end them."""
        import ray

        fleet = self.fleet
        waiting = deque(requests[start : start + CHUNK] for start in range(0, len(requests), CHUNK))
        working: dict[Any, tuple[Any, Sequence[Request]]] = {}
        while waiting or working:
            while waiting and fleet.idle:
                engine, chunk = fleet.idle.popleft(), waiting.popleft()
                working[engine.answer.remote(self.decoding, chunk)] = engine, chunk
            [reference], _ = ray.wait([*working, *fleet.starting], num_returns=1)
            if reference in fleet.starting:
                engine = fleet.starting.pop(reference)
                if fleet.settle(reference) is not None:
                    fleet.idle.append(engine)
                continue
            engine, chunk = working.pop(reference)
            answers = fleet.settle(reference)
            if answers is None:
                waiting.appendleft(chunk)
                continue
            fleet.idle.append(engine)
            yield from zip(chunk, answers, strict=True)


def _line(error: Exception) -> str:
    """The last line of a remote error, which says what it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
