"""Greedy answers of a tiny ladder's model, text by text, against a plain loop over the rules of the authors' harness.

The loop has no cache, no batches and nothing of astraios: a prompt cut to its last `max_length` tokens, one token after
the other from a whole pass, a look for the end after each, and the harness's post-processing written down once more.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from astraios.evaluate.generate import generate
from astraios.evaluate.generate.hf import Generator
from astraios.evaluate.model import load
from astraios.evaluate.options import ScoreOptions, Subject
from astraios.evaluate.tasks import TASKS, Decoding, Scoring, TunedModel

torch = pytest.importorskip("torch")
SHARED = Path(os.environ.get("ASTRAIOS_SHARED") or Path(__file__).resolve().parents[3] / "shared")
GOLD = SHARED / "data" / "paper" / "gold"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GOLD.is_dir(), reason=f"no gold data at {GOLD} (set ASTRAIOS_SHARED)"),
]

END = "<|endoftext|>"
PYTHON = ["\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert"]
RECODE = PYTHON[:-1]
PROBLEMS = 10
LENGTH = 300
"""Tokens in all: most prompts are longer for this tokenizer, which shows how they are cut."""
COMPLETE = "Question: Create a Python script for this problem.\n\nAnswer: "


@pytest.fixture(scope="module")
def subject() -> TunedModel:
    return load(Subject(model="tiny/66k", device="cpu", dtype="float32", engine="transformers"))


class Loop:
    def __init__(self, subject: TunedModel) -> None:
        self.model, self.words = subject.model, subject.tokenizer

    def answer(self, prompt: str, stops: Sequence[str], closed: Callable[[str], bool] = lambda text: False) -> str:
        """What follows the prompt, special tokens and stop text included."""
        ids = self.words(prompt)["input_ids"][-LENGTH:]
        start = len(ids)
        while True:
            with torch.inference_mode():
                ids.append(int(self.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            text = self.words.decode(ids[start:], skip_special_tokens=False)
            if len(ids) >= LENGTH or any(stop in text for stop in [*stops, END]) or closed(text):
                return text


def before(text: str, stops: Sequence[str]) -> str:
    for stop in [*stops, END]:
        text = text.split(stop)[0]
    return text


def python_program(head: str, said: str) -> str:
    body = before(said.rstrip(), PYTHON)
    return (
        head.rstrip() + re.split(r"(?:^|\n)(?=[^\s])", body, maxsplit=1)[0] if _outside(body) else head.rstrip() + body
    )


def _outside(body: str) -> bool:
    return any(line.strip() and line[0] not in " \t" for line in body.split("\n"))


def java_program(head: str, said: str) -> str:
    body, depth = before(said.rstrip(), []), 2
    for place, sign in enumerate(body):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return head.rstrip() + body[: place + 1]
    if "public static void main" in body:
        body = body.split("public static void main")[0] + "}"
    if "}" in body:
        body = body.rpartition("}")[0] + "}"
    return head.rstrip() + body + ("\n}" if body.count("{") - 1 == body.count("}") else "")


def java_closed(text: str) -> bool:
    return text.count("{") + 2 == text.count("}")


def of_pack(loop: Loop, kind: str, language: str, row: dict[str, Any]) -> str:
    stops = PYTHON if language == "python" else []
    closed, program = (_outside, python_program) if language == "python" else (java_closed, java_program)
    if kind == "synthesize":
        asked, start, head = row["instruction"].strip(), row["prompt"], row["prompt"]
    elif kind == "fix":
        context = row["declaration"] + row["buggy_solution"] + "\n" + row["test"]
        asked, start, head = f"Fix bugs in {row['entry_point']}.\n{context}", row["declaration"], row["declaration"]
    else:
        n = len(row["docstring"])
        first = f"Provide a concise natural language description of the code using at most {n} characters."
        context = row["declaration"] + row["canonical_solution"]
        said = loop.answer(f"Question: {first}\n{context}\n\nAnswer:\n".strip(), stops)
        told = before(said.strip()[:n], stops).rstrip()
        for line in row["canonical_solution"].split("\n"):
            if len(line.strip()) > 20 and line.strip() in told:
                told = told.replace(line.strip(), "")
        name = {"python": "Python", "java": "Java"}[language]
        asked = f"Write functional code in {name} according to the description.\n{told}"
        start, head = row["declaration"], row["prompt"]
    prompt = f"Question: {asked}\n\nAnswer:\n{start}".strip()
    return program(head, loop.answer(prompt, stops, closed))


def of_completion(loop: Loop, row: dict[str, Any]) -> str:
    text = row["prompt"].strip()
    return text + before(loop.answer(COMPLETE + text, RECODE), RECODE)


def of_security(loop: Loop, row: dict[str, Any]) -> str:
    whole = row["prompt"] + loop.answer(row["prompt"], []).replace(END, "")
    for old, new in [(" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
                     (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")]:  # fmt: skip
        whole = whole.replace(old, new)
    return whole[len(row["prompt"]) :]


def of_question(loop: Loop, row: dict[str, Any]) -> str:
    whole = row["prompt_tail"] + loop.answer(row["prompt_tail"], ["\n"])
    return before(whole.split("\nAnswer:")[-1], ["\n"])


def plain(loop: Loop, name: str, row: dict[str, Any]) -> str:
    if name.startswith(("humanevalsynthesize", "humanevalfix", "humanevalexplain")):
        kind, _, language = name.removeprefix("humaneval").partition("-")
        return of_pack(loop, kind, language, row)
    if name == "aatk":
        return of_security(loop, row)
    return of_question(loop, row) if name.startswith("devign") else of_completion(loop, row)


NAMES = [
    "devign", "devign@1", "humaneval", "aatk",
    *(f"humaneval{kind}-{language}" for kind in ("synthesize", "fix", "explain") for language in ("python", "java")),
    *(f"recode-{kind}" for kind in ("format", "function", "syntax", "docstring")),
]  # fmt: skip


@pytest.mark.promise("generation follows the authors' rules, text by text")
@pytest.mark.parametrize("name", NAMES)
def test_greedy_answers_are_those_of_a_plain_loop(name: str, subject: TunedModel, tmp_path: Path) -> None:
    task_id, _, shots = name.partition("@")
    task = TASKS.get(task_id)
    values = {"data_dir": GOLD, "limit": PROBLEMS, **({"n_shot": int(shots)} if shots else {})}
    scoring = Scoring(options=task.read_options(ScoreOptions, values, ""))

    def make(decoding: Decoding) -> Generator:
        return Generator(subject.model, subject.tokenizer, decoding.max_length, decoding.temperature)

    path = generate(task, scoring, make, tmp_path, decoding=Decoding(n_samples=1, temperature=0.0, max_length=LENGTH))
    assert path
    found = [json.loads(line)["samples"] for line in path.read_text().splitlines()]
    loop = Loop(subject)
    assert found == [[plain(loop, name, row)] for row in task.gold(scoring)]
    assert len(found) == PROBLEMS
