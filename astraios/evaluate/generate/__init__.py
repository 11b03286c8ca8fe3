"""Answers of a model to a task's prompts, kept sample by sample in a folder, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
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
        self.known: dict[tuple[str, str, int, str], str] = {}
        self.read()

    def read(self) -> None:
        """Read what all processes have written so far; a line cut short is passed over, one of before prompts were kept
        too."""
        for path in sorted(self.folder.glob("answers-*.jsonl")):
            for line in path.read_bytes().split(b"\n"):
                try:
                    row = json.loads(line)
                    self.known[row["stage"], row["item_id"], row["sample"], row["prompt"]] = row["answer"]
                except (ValueError, KeyError, TypeError):
                    continue

    def append(self, stage: str, request: Request, answer: str) -> None:
        """Keep one answer, with a hash of what was asked: another prompt of the same name has answers of its own."""
        key = _key(stage, request)
        self.known[key] = answer
        row = json.dumps({**dict(zip(("stage", "item_id", "sample", "prompt"), key, strict=True)), "answer": answer})
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
        folder: where answers are kept; the same call goes on where it stood, and one for more samples or problems
            adds them.
        decoding: instead of the task's own.
        identity: what else the answers depend on (the model, the seed).
        shard: number of this process and how many there are; each takes its share of the samples.
        progress: called with samples done and in all.

    Returns:
        The file, or None where other processes' answers are still missing.
    """
    decoding = decoding or task.decoding()
    answers = Answers(folder, {**(identity or {}), **_drawing(task, decoding)}, shard)
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


def _drawing(task: Task, decoding: Decoding) -> dict[str, Any]:
    """What an answer depends on beside its model and its prompt; how many there are is no part of it."""
    drawn = {name: getattr(decoding, name) for name in ("temperature", "max_length", "top_p")}
    return {"task": task.name, "decoding": drawn}


def _key(stage: str, request: Request) -> tuple[str, str, int, str]:
    prompt = hashlib.sha256(json.dumps([request.text, request.stop]).encode()).hexdigest()[:16]
    return stage, request.item_id, request.sample, prompt


def _stage(
    stage: str, prompts: Sequence[Prompt], n: int, answers: Answers, generator: Generates, progress: Progress | None
) -> dict[str, list[str]] | None:
    """All answers of a stage by problem, or None while those of other processes are missing."""
    wanted = [
        Request(prompt.item_id, sample, prompt.text, prompt.stop, prompt.complete)
        for prompt in prompts
        for sample in range(n)
    ]
    keys = [_key(stage, request) for request in wanted]
    number, of = answers.shard
    mine = [
        request
        for place, (request, key) in enumerate(zip(wanted, keys, strict=True))
        if place % of == number and key not in answers.known
    ]
    for count, (request, answer) in enumerate(generator.run(mine), 1):
        answers.append(stage, request, answer)
        if progress:
            progress(len(wanted) - len(mine) + count, len(wanted))
    answers.read()
    if any(key not in answers.known for key in keys):
        return None
    done: dict[str, list[str]] = {prompt.item_id: [] for prompt in prompts}
    for key in keys:
        done[key[1]].append(answers.known[key])
    return done


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
        known = {"seed": tuned.seed, **_drawing(task, decoding)}
        kept = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]
        folder = (options.folder or Path(spare)) / task.name / kept
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
            result = task.score(path, scoring)
            facts = {"seed": tuned.seed, "engine": tuned.engine, **known["decoding"], **task.prompt_facts(scoring)}
            return replace(result, settings={**result.settings, **facts})
        finally:
            for each in engines:
                each.close()
