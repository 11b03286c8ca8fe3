"""Prompts and post-processing to the letter: held against everything that the paper's authors released."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from astraios.errors import DataError
from astraios.evaluate.ending import END
from astraios.evaluate.options import ScoreOptions
from astraios.evaluate.tasks import TASKS, Prompt, Scoring, Task
from astraios.evaluate.tasks import bigclonebench as clones
from astraios.evaluate.tasks import devign as defects
from astraios.evaluate.tasks.aatk import cleaned
from astraios.evaluate.tasks.humaneval_explain import description

SHARED = Path(os.environ.get("ASTRAIOS_SHARED") or Path(__file__).resolve().parents[3] / "shared")
PAPER = SHARED / "data" / "paper"
needs_data = pytest.mark.skipif(not PAPER.is_dir(), reason=f"no released files at {PAPER} (set ASTRAIOS_SHARED)")

PROGRAMS = {
    "humanevalsynth_python": "humanevalsynthesize-python",
    "humanevalsynth_java": "humanevalsynthesize-java",
    "humanevalfix_python": "humanevalfix-python",
    "humanevalfix_java": "humanevalfix-java",
    "humanevalexplain_python": "humanevalexplain-python",
    "humanevalexplain_java": "humanevalexplain-java",
    "recode_format": "recode-format",
    "recode_func_name": "recode-function",
    "recode_natgen": "recode-syntax",
}
OTHER_GOLD = {"Python/142": '    """"\n'}
"""Where the authors' data set was another: HumanEval's four quotation marks, which the gold file here has mended."""


def lines(name: str) -> list[dict]:
    with gzip.open(PAPER / name, "rt") as file:
        return [json.loads(line) for line in file]


def released(kind: str) -> Iterator[tuple[str, list[dict]]]:
    for path in sorted((PAPER / "generations").glob(f"{kind}__*")):
        yield path.name, lines(f"generations/{path.name}")


def scoring(name: str, **options: object) -> tuple[Task, Scoring]:
    task = TASKS.get(name)
    return task, Scoring(options=task.read_options(ScoreOptions, {"data_dir": PAPER, **options}, ""))


def prompts_of(name: str) -> dict[str, Prompt]:
    """The prompts from whose answers programs are made: of explaining those of the second stage."""
    task, how = scoring(name)
    prompts = list(task.prompts(how))
    second = task.follow_up(how, {prompt.item_id: ["words"] for prompt in prompts})
    return {prompt.item_id.split(":")[0]: prompt for prompt in second or prompts}


@needs_data
@pytest.mark.promise("prompts, stops and post-processing are those of the released generations")
@pytest.mark.parametrize("kind", PROGRAMS)
def test_programs_begin_with_the_prompts_and_end_as_released(kind: str) -> None:
    """Byte for byte the stored beginning; and what was released is what post-processing would leave of it."""
    task, prompts, seen = TASKS.get(PROGRAMS[kind]), prompts_of(PROGRAMS[kind]), 0
    for name, rows in released(kind):
        for row in rows:
            key = str(row["row"]) if "row" in row else row["task_id"]
            prompt = prompts[key]
            for text in row.get("samples") or [row["text"]]:
                seen += 1
                if key in OTHER_GOLD and "fix" not in kind:
                    assert text.startswith(prompt.prefix.replace('    """\n', OTHER_GOLD[key], 1)), name
                    continue
                assert text.startswith(prompt.prefix), (name, key)
                answer = text.removeprefix(prompt.prefix)
                assert task.finish(prompt, answer + END) == text, (name, key)
    assert seen >= 1640
    if "explain" not in kind:
        assert all(prompt.text.endswith(prompt.prefix) for prompt in prompts.values())
    assert all(prompt.text == prompt.text.strip() for prompt in prompts.values())


@needs_data
@pytest.mark.parametrize("kind", ["humanevalsynth_java", "humanevalfix_java", "humanevalexplain_java"])
def test_java_has_no_stop_texts_and_other_ends(kind: str) -> None:
    """Released programs hold every candidate for one, and those that never close end as the rule says."""
    prompts, held, open_ends = prompts_of(PROGRAMS[kind]), Counter[str](), Counter[bool]()
    for _, rows in released(kind):
        for row in rows:
            for text in row["samples"]:
                answer = text.removeprefix(prompts[row["task_id"]].prefix)
                held.update(word for word in ("\npublic class", "\nimport", "\nclass", "\n#") if word in answer)
                if answer.count("{") + 2 != answer.count("}") and "}" in answer:
                    open_ends[answer.endswith("}")] += 1
    assert not any(prompt.stop for prompt in prompts.values())
    assert False not in open_ends
    if kind == "humanevalexplain_java":
        assert set(held) == {"\npublic class", "\nimport", "\nclass", "\n#"}


@needs_data
@pytest.mark.parametrize("kind", ["recode_format", "recode_func_name", "recode_natgen"])
def test_recode_answers_may_hold_assertions(kind: str) -> None:
    prompts = prompts_of(PROGRAMS[kind])
    held = Counter(
        word
        for _, rows in released(kind)
        for row in rows
        for word in ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert")
        if word in row["text"].removeprefix(prompts[str(row["row"])].prefix)
    )
    assert set(held) == {"\nassert"}, "the authors' stops but for that of HumanEvalPack"


@needs_data
@pytest.mark.promise("prompts, stops and post-processing are those of the released generations")
def test_security_prompts_are_the_bare_scenarios() -> None:
    """No instruction (figure 19 prints one), and completions cut out of a text whose spaces were cleaned up."""
    task, how = scoring("aatk")
    prompts = {prompt.item_id: prompt for prompt in task.prompts(how)}
    [raw] = (PAPER / "raw").glob("generations-asleep*")
    shortened = set()
    for group in json.loads(gzip.decompress(raw.read_bytes())):
        for one in group:
            prompt, whole = prompts[one["scenario_id"]], one["generation_raw"]
            assert one["prompt"] == prompt.text
            assert whole.startswith(cleaned(prompt.text))
            answer = whole.removeprefix(cleaned(prompt.text))
            assert task.finish(prompt, answer + END) == one["completion"]
            if cleaned(prompt.text) != prompt.text:
                shortened.add(one["scenario_id"])
    assert shortened == {"DoW/CWE-787-2", "DoW/CWE-434-0", "DoW/CWE-434-2"}
    texts = [text for _, rows in released("aatk_dow") for row in rows for text in row["completions"]]
    assert len(texts) == 3 * 54 * 20
    assert all(cleaned(text) == text for text in texts)


def functions() -> list[dict]:
    """The rows of the test split whose function the released texts hold whole."""
    tail = f"\n{defects.QUESTION}\n\nAnswer:"
    return [
        {**row, "func": row["prompt_tail"].removeprefix("Question: ").removesuffix(tail)}
        for row in lines("gold/defect_gold.jsonl.gz")
        if not row["prompt_truncated"]
    ]


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


DEMONSTRATION = re.compile(r" Question: (?P<func>static inline int cris_bound_w.*?)\nIs there", re.DOTALL)


@needs_data
@pytest.mark.promise("one-shot prompts have the released form")
@pytest.mark.parametrize(("n_shot", "gold", "whole"), [(0, "defect_gold", 1738), (1, "defect_1shot_gold", 1578)])
def test_detection_prompts_are_the_released_ones(n_shot: int, gold: str, whole: int, tmp_path: Path) -> None:
    """From whole functions; the released texts are their last 512 tokens, so they end alike and some begin alike."""
    echoed = {row["id"]: row["prompt_tail"] for row in lines(f"gold/{gold}.jsonl.gz")}
    [func] = {found["func"] for text in echoed.values() if n_shot and (found := DEMONSTRATION.match(text))} or {""}
    write(tmp_path / "devign.jsonl", [{"id": row["id"], "func": row["func"], "target": row["true_label"]} for row in functions()])  # fmt: skip  # noqa: E501
    write(tmp_path / "devign_train.jsonl", [{"func": func, "target": True}])
    task, how = scoring("devign", data_dir=tmp_path, n_shot=n_shot)
    prompts = task.prompts(how)
    assert len(prompts) == 1738
    assert all(prompt.text.endswith(echoed[int(prompt.item_id)]) for prompt in prompts)
    begins = [prompt.text == echoed[int(prompt.item_id)] for prompt in prompts]
    assert sum(begins) == (1738 if n_shot == 0 else sum(t.startswith(" Question: static inline int cris") for t in echoed.values()))  # fmt: skip  # noqa: E501
    assert sum(begins) == whole
    facts = task.prompt_facts(how)
    assert facts["prompts"] == "whole functions"
    if n_shot:
        assert facts["demonstration"]["seed"] == 0
        assert facts["demonstration"]["hash"]


@needs_data
@pytest.mark.parametrize("n_shot", [0, 1])
def test_without_functions_the_released_prompts_are_asked(n_shot: int) -> None:
    task, how = scoring("devign", n_shot=n_shot)
    gold = lines(f"gold/{'defect_1shot_gold' if n_shot else 'defect_gold'}.jsonl.gz")
    assert [prompt.text for prompt in task.prompts(how)] == [row["prompt_tail"] for row in gold]
    assert "as released" in task.prompt_facts(how)["prompts"]


@pytest.mark.promise("one-shot prompts have the released form")
def test_a_demonstration_is_drawn_by_its_seed(tmp_path: Path) -> None:
    write(tmp_path / "devign.jsonl", [{"id": 0, "func": "int f();", "target": 0}])
    write(tmp_path / "devign_train.jsonl", [{"func": f"int g{i}();", "target": i % 2} for i in range(100)])
    shown, rows = set(), set()
    for seed in range(4):
        task, how = scoring("devign", data_dir=tmp_path, n_shot=1, shot_seed=seed)
        [prompt] = task.prompts(how)
        number = task.prompt_facts(how)["demonstration"]["row"]
        assert f"Question: int g{number}();" in prompt.text
        assert f"Answer: {'YES' if number % 2 else 'NO'}\n\n{' ' * 22}Question: int f();" in prompt.text
        assert task.prompts(how) == [prompt]
        rows.add(number)
        shown.add(prompt.text)
    assert len(shown) == len(rows) == 4


@needs_data
def test_the_test_split_is_known_by_its_hash(tmp_path: Path) -> None:
    """From the ends of all 2,732 functions, which the released texts hold; another split is refused."""
    tail = f"\n{defects.QUESTION}\n\nAnswer:"
    rows = [
        {"id": row["id"], "target": row["true_label"],
         "func": row["prompt_tail"].removesuffix(tail).removeprefix("Question: ")}
        for row in lines("gold/defect_gold.jsonl.gz")
    ]  # fmt: skip
    assert defects.ends(rows) == defects.ENDS
    write(tmp_path / "devign.jsonl", rows)
    task, how = scoring("devign", data_dir=tmp_path)
    assert sum(row["scored"] for row in task.gold(how)) == 2000
    write(tmp_path / "devign.jsonl", rows[::-1])
    with pytest.raises(DataError, match="not those that the paper's models were asked"):
        task.gold(how)


def test_clone_detection_draws_as_the_authors_did(tmp_path: Path) -> None:
    labels = [int(i % 7 == 0) for i in range(20_000)]
    chosen = clones.drawn(labels)
    asked = [labels[row] for row in chosen]
    assert (len(chosen), len(set(chosen)), sum(asked)) == (2726, 2726, 1000)
    scored = [label for label, counts in zip(asked, clones.paper_sample(asked), strict=True) if counts]
    assert (len(scored), sum(scored)) == (2000, 274)
    rows = [
        {"id": i, "func1": f"int a{i}();", "func2": f"int b{i}();", "label": bool(labels[i])} for i in range(20_000)
    ]
    write(tmp_path / "bigclonebench.jsonl", rows)
    task, how = scoring("bigclonebench", data_dir=tmp_path)
    gold, prompts = task.gold(how), task.prompts(how)
    assert [row["id"] for row in gold] == chosen
    assert sum(row["scored"] for row in gold) == 2000
    first = chosen[0]
    assert prompts[0].text == (
        f"Question: Code1: int a{first}();.\nCode2: int b{first}();.\n"
        "Is there a clone relation between the Code1 and Code2, and respond to YES or NO.\n\nAnswer:"
    )


def test_descriptions_are_cut_in_the_authors_order() -> None:
    row = {"docstring": "x" * 40, "canonical_solution": "    distance = abs(elem - elem2)\n    return short"}
    said = "  Loops.\n    distance = abs(elem - elem2) and more words"
    assert description(said, row, ()) == "Loops.\n    "
    assert description(f"Loops.{END}", row, ()) == "Loops."
    assert description(f"{'y' * 35}{END}", row, ()) == "y" * 35 + "<|end", (
        "a stop text that the length cuts in two stays"
    )
    assert description("Loops.\ndef more", row, ("\ndef",)) == "Loops."


@needs_data
def test_questions_are_those_of_the_authors_harness() -> None:
    task, how = scoring("humanevalsynthesize-python", limit=1)
    [prompt] = task.prompts(how)
    assert prompt.text.startswith("Question: Write a Python function `has_close_elements(")
    assert "\n\nAnswer:\nfrom typing import List\n\n\ndef has_close_elements" in prompt.text
    task, how = scoring("humanevalfix-java", limit=1)
    [prompt] = task.prompts(how)
    assert prompt.text.startswith("Question: Fix bugs in hasCloseElements.\nimport java.util.*;")
    assert prompt.text.endswith("public boolean hasCloseElements(List<Double> numbers, double threshold) {")
    task, how = scoring("humanevalexplain-python", limit=1)
    [prompt] = task.prompts(how)
    [gold] = task.gold(how)
    assert f"description of the code using at most {len(gold['docstring'])} characters.\n" in prompt.text
    assert prompt.text.endswith("\n\nAnswer:")
    [second] = task.follow_up(how, {gold["task_id"]: ["Loops."]})
    assert second.text.startswith("Question: Write functional code in Python according to the description.\nLoops.\n\n")
    assert second.text.endswith("Answer:\n" + gold["declaration"].rstrip())
    assert second.prefix == gold["prompt"].rstrip()
    assert prompt.stop == second.stop == ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert")
    for name in ("humaneval", "recode-docstring"):
        task, how = scoring(name, limit=1)
        [prompt] = task.prompts(how)
        assert prompt.text.startswith("Question: Create a Python script for this problem.\n\nAnswer: from typing")
