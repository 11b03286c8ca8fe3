"""Answers of a model to a task's prompts, kept sample by sample in a folder, so that an interrupted run goes on."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from astraios.errors import StoreError
from astraios.evaluate.generate.requests import Generates, Request
from astraios.evaluate.tasks import Decoding, Prompt, Scoring, Task, TunedModel
from astraios.records import TaskResult

Progress = Callable[[int, int], None]


class Answers:
    """The file of answers in a folder: one JSON object a line, appended as batches end.

    Args:
        folder: made if need be; each process of several appends to a file of its own and reads all of them.
        shard: number of this process, and how many there are.
        identity: what the answers depend on (task, decoding, seed, model); a folder holds one such thing only.

    Raises:
        StoreError: the folder holds answers of something else, or can't be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], shard: tuple[int, int] = (0, 1)) -> None:
        self.folder, self.shard = folder, shard
        self.path = folder / f"answers-{shard[0]}-of-{shard[1]}.jsonl"
        about = folder / "answers.json"
        text = json.dumps(dict(identity), sort_keys=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if about.exists() and about.read_text() != text:
                raise StoreError(f"{folder} holds answers of another task, model or decoding: name another folder")
            temporary = folder / f"answers.json.{os.getpid()}"
            temporary.write_text(text)
            temporary.replace(about)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}") from None
        self.known: dict[tuple[str, str, int], str] = {}
        self.read()

    def read(self) -> None:
        """Read what all processes have written so far; a line cut short is passed over."""
        for path in sorted(self.folder.glob("answers-*.jsonl")):
            for line in path.read_bytes().split(b"\n"):
                try:
                    row = json.loads(line)
                    self.known[row["stage"], row["item_id"], row["sample"]] = row["answer"]
                except (ValueError, KeyError, TypeError):
                    continue

    def append(self, stage: str, item_id: str, sample: int, answer: str) -> None:
        """Keep one answer."""
        self.known[stage, item_id, sample] = answer
        row = json.dumps({"stage": stage, "item_id": item_id, "sample": sample, "answer": answer})
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            whole = not size or os.pread(descriptor, 1, size - 1) == b"\n"
            os.write(descriptor, (b"" if whole else b"\n") + row.encode() + b"\n")
        finally:
            os.close(descriptor)


def generate(
    task: Task,
    scoring: Scoring,
    make: Callable[[Decoding], Generates],
    folder: Path,
    *,
    decoding: Decoding | None = None,
    identity: Mapping[str, Any] | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: Progress | None = None,
) -> Path | None:
    """The generations of a model, as the file `generations.jsonl` in `folder`, with a problem a line.

    Args:
        task: what to ask.
        scoring: where the gold data are, and demonstrations.
        make: makes the generator for a decoding.
        folder: where answers are kept; the same call goes on where it stood.
        decoding: instead of the task's own.
        identity: what else the answers depend on (the model, the seed).
        shard: number of this process and how many there are; each takes its share of the samples.
        progress: called with samples done and in all.

    Returns:
        The file, or None where other processes' answers are still missing.
    """
    decoding = decoding or task.decoding()
    known = {**(identity or {}), "task": task.name, "n_shot": task.n_shot(scoring.options), "decoding": vars(decoding)}
    answers = Answers(folder, known, shard)
    prompts = list(task.prompts(scoring))
    generator = make(decoding)
    done = _stage("1", prompts, decoding.n_samples, answers, generator, progress)
    if done is None:
        return None
    if (second := task.follow_up(scoring, done)) is not None:
        prompts = list(second)
        done = _stage("2", prompts, 1, answers, generator, progress)
        if done is None:
            return None
    return _write(folder, task, prompts, done)


def _stage(
    stage: str, prompts: Sequence[Prompt], n: int, answers: Answers, generator: Generates, progress: Progress | None
) -> dict[str, list[str]] | None:
    """All answers of a stage by problem, or None while those of other processes are missing."""
    wanted = [(prompt, sample) for prompt in prompts for sample in range(n)]
    mine: list[Request] = [
        Request(prompt.item_id, sample, prompt.text, prompt.stop)
        for number, (prompt, sample) in enumerate(wanted)
        if number % answers.shard[1] == answers.shard[0] and (stage, prompt.item_id, sample) not in answers.known
    ]
    for count, (request, answer) in enumerate(generator.run(mine), 1):
        answers.append(stage, request.item_id, request.sample, answer)
        if progress:
            progress(len(wanted) - len(mine) + count, len(wanted))
    answers.read()
    if any((stage, prompt.item_id, sample) not in answers.known for prompt, sample in wanted):
        return None
    return {prompt.item_id: [answers.known[stage, prompt.item_id, k] for k in range(n)] for prompt in prompts}


def _write(folder: Path, task: Task, prompts: Sequence[Prompt], done: dict[str, list[str]]) -> Path:
    samples: dict[str, list[str]] = {}
    for prompt in prompts:
        item = prompt.item_id.split(":")[0]
        samples.setdefault(item, []).extend(task.finish(prompt, answer) for answer in done[prompt.item_id])
    path = folder / "generations.jsonl"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    lines = (json.dumps({task.id_key: item, "samples": texts}) for item, texts in samples.items())
    temporary.write_text("\n".join(lines) + "\n")
    temporary.replace(path)
    return path


def evaluate(task: Task, tuned: TunedModel) -> TaskResult:
    """Generate, execute and score with a model in memory.

    Raises:
        UsageError: the task has no prompts.
        DataError: the gold data can't be had.
    """
    from astraios.evaluate.execute.engine import Engine
    from astraios.evaluate.generate.hf import Generator

    options, decoding = tuned.options, task.decoding()
    decoding = replace(
        decoding,
        n_samples=options.n_samples or decoding.n_samples,
        max_length=min(decoding.max_length, tuned.n_positions),
    )
    with tempfile.TemporaryDirectory(prefix="astraios-generations-") as spare:
        folder = (options.folder or Path(spare)) / task.name
        engines: list[Engine] = []

        def engine() -> Engine:
            if not engines:
                engines.append(Engine(options.workers, options.isolation, folder / "verdicts.jsonl"))
            return engines[0]

        scoring = Scoring(options=options, engine=engine)

        def make(drawn: Decoding) -> Generates:
            if tuned.generator:
                return tuned.generator(drawn)
            return Generator(
                tuned.model, tuned.tokenizer, drawn.max_length, drawn.temperature, drawn.top_p, tuned.seed,
                options.batch,
            )  # fmt: skip

        try:
            path = generate(task, scoring, make, folder, decoding=decoding, identity={"seed": tuned.seed})
            assert path is not None
            return task.score(path, scoring)
        finally:
            for each in engines:
                each.close()
