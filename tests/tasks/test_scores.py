"""The paper's tables from the generations that its authors released (a sample here, all of them when slow)."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from astraios.errors import DataError, UsageError
from astraios.evaluate.execute.engine import Engine
from astraios.evaluate.score import identify, score_generations, score_options
from astraios.evaluate.tasks import TASKS
from astraios.evaluate.tasks._answers import after_answer, yes_or_no
from astraios.evaluate.tasks._files import Layout, read_generations
from astraios.evaluate.tasks.aatk import until_closed
from astraios.evaluate.tasks.bigclonebench import macro_f1
from astraios.evaluate.tasks.devign import NO, YES, paper_sample
from astraios.records import TaskResult

SHARED = Path(os.environ.get("ASTRAIOS_SHARED") or Path(__file__).resolve().parents[3] / "shared")
PAPER = SHARED / "data" / "paper"
needs_data = pytest.mark.skipif(not PAPER.is_dir(), reason=f"no shared data at {PAPER} (set ASTRAIOS_SHARED)")
needs_java = pytest.mark.skipif(not shutil.which("javac"), reason="no JDK on this machine")

KINDS = {
    "defect": ("devign", "2", "defect_detection", "accuracy"),
    "humanevalsynth_python": ("humanevalsynthesize-python", "3", "humaneval_synthesize", "pass@1"),
    "humanevalfix_python": ("humanevalfix-python", "3", "humaneval_fix", "pass@1"),
    "humanevalexplain_python": ("humanevalexplain-python", "3", "humaneval_explain", "pass@1"),
    "humanevalsynth_java": ("humanevalsynthesize-java", "3", "humaneval_synthesize", "pass@1"),
    "humanevalfix_java": ("humanevalfix-java", "3", "humaneval_fix", "pass@1"),
    "humanevalexplain_java": ("humanevalexplain-java", "3", "humaneval_explain", "pass@1"),
    "recode_format": ("recode-format", "4", "recode_format", "robust_pass@1"),
    "recode_func_name": ("recode-function", "4", "recode_function", "robust_pass@1"),
    "recode_natgen": ("recode-syntax", "4", "recode_syntax", "robust_pass@1"),
}
CONTRADICTED = {("humanevalsynth_java", "1b", "lora"): 10.37, ("humanevalfix_java", "1b", "fft"): 3.17}
"""Cells whose printed value does not come from the released file, with what the file gives."""


def printed() -> dict[tuple[str, ...], float]:
    with (PAPER / "paper_tables.csv").open() as file:
        return {
            (row["table"], row["task"], row["language"], row["method"], row["size"], row["metric"]): float(row["value"])
            for row in csv.DictReader(file)
        }


def files() -> list[Path]:
    return sorted(path for path in (PAPER / "generations").glob("*.gz") if path.name.split("__")[0] in KINDS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(cache=tmp_path_factory.mktemp("verdicts") / "verdicts.jsonl") as found:
        yield found


def scored(path: Path, task: str, data_dir: Path, engine: Engine | None = None, **options: object) -> TaskResult:
    return score_generations(path, task, score_options(task, data_dir=data_dir, **options), engine=engine)


def cell(path: Path, engine: Engine) -> tuple[float, float, float]:
    """(scored, wanted, tolerance), in points."""
    kind, size, method = path.name.removesuffix(".jsonl.gz").split("__")
    task, table, name, metric = KINDS[kind]
    language = "java" if "java" in kind else "c" if kind == "defect" else "python"
    level = 8 if language == "java" else None
    result = scored(path, task, PAPER / "gold", engine=engine, language_level=level)
    (score,) = (score for score in result.scores if score.metric == metric)
    size = "16b" if size == "15b" else size
    wanted = CONTRADICTED.get((kind, size, method)) or printed()[table, name, language, method, size, metric]
    return 100 * score.value, wanted, 0.15 if table == "3" else 0.01


@needs_data
@pytest.mark.promise("scores of the released generations are the paper's")
@pytest.mark.parametrize("name", ["defect__1b__lora", "defect__3b__ia3", "humanevalexplain_python__3b__ia3"])
def test_sampled_cells_of_the_paper(name: str, engine: Engine) -> None:
    value, wanted, tolerance = cell(PAPER / "generations" / f"{name}.jsonl.gz", engine)
    assert abs(value - wanted) <= tolerance


@needs_data
@pytest.mark.slow
@pytest.mark.promise("scores of the released generations are the paper's")
@pytest.mark.parametrize("path", files() if PAPER.is_dir() else [], ids=lambda path: path.name.split(".")[0])
def test_every_cell_of_the_paper(path: Path, engine: Engine) -> None:
    if "java" in path.name and not shutil.which("javac"):
        pytest.skip("no JDK on this machine")
    value, wanted, tolerance = cell(path, engine)
    assert abs(value - wanted) <= tolerance


@needs_data
@pytest.mark.promise("scores of the released generations are the paper's")
def test_one_shot_answers_score_as_before() -> None:
    """Appendix H prints no number; the file gives 51.25, read as one-shot from its name."""
    result = scored(PAPER / "generations" / "defect_1shot__1b__lora.jsonl.gz", "devign", PAPER)
    assert (result.scores[0].value, result.scores[0].n_shot) == (0.5125, 1)


def lines(name: str) -> list[dict]:
    with gzip.open(PAPER / name, "rt") as file:
        return [json.loads(line) for line in file]


@needs_data
def test_reference_solutions_pass_and_buggy_ones_fail(engine: Engine, tmp_path: Path) -> None:
    gold = lines("gold/humanevalpack_python.jsonl.gz")
    path = tmp_path / "generations.json"
    path.write_text(
        json.dumps(
            [[row["prompt"] + row["canonical_solution"], row["declaration"] + row["buggy_solution"]] for row in gold]
        )
    )
    result = scored(path, "humanevalsynthesize-python", PAPER / "gold", engine=engine)
    by_sample = {k: [s.value for s in result.samples if s.sample == k] for k in (0, 1)}
    assert by_sample[0] == [1.0] * 164
    assert by_sample[1] == [0.0] * 164
    assert result.isolation == engine.level


@needs_data
@needs_java
def test_java_language_level_is_what_decides(engine: Engine, tmp_path: Path) -> None:
    gold = lines("gold/humanevalpack_java.jsonl.gz")
    path = tmp_path / "generations.json"
    path.write_text(json.dumps([[row["declaration"] + row["canonical_solution"]] for row in gold]))
    at_8 = scored(path, "humanevalfix-java", PAPER / "gold", engine=engine, language_level=8)
    own = scored(path, "humanevalfix-java", PAPER / "gold", engine=engine)
    assert sum(s.value for s in at_8.samples) == 164 - 65
    assert sum(s.value for s in own.samples) == 164
    assert at_8.settings["language_level"] == 8
    with pytest.raises(UsageError, match="language level 99"):
        scored(path, "humanevalfix-java", PAPER / "gold", engine=engine, language_level=99)


@needs_data
@pytest.mark.parametrize("form", ["raw", "problem lines", "sample lines", "parquet", "gzip", "continuations"])
def test_all_forms_of_generations_give_the_same(form: str, engine: Engine, tmp_path: Path) -> None:
    gold = lines("gold/humanevalpack_python.jsonl.gz")
    texts = [[row["prompt"] + row["canonical_solution"], row["prompt"] + "    pass\n"] for row in gold]
    path = tmp_path / "generations"
    rows = [{"task_id": row["task_id"], "samples": pair} for row, pair in zip(gold, texts, strict=True)]
    single = [
        {
            "task_id": f"HumanEval/{i}",
            "completion": text.removeprefix(gold[i]["prompt"]) if form == "continuations" else text,
        }
        for i, pair in enumerate(texts)
        for text in pair
    ]
    if form == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif form == "raw":
        path.write_text(json.dumps(texts))
    elif form in ("problem lines", "gzip"):
        data = "\n".join(json.dumps(row) for row in rows).encode()
        path.write_bytes(gzip.compress(data) if form == "gzip" else data)
    else:
        path.write_text("\n".join(json.dumps(row) for row in single))
    result = scored(path, "humanevalsynthesize-python", PAPER / "gold", engine=engine)
    assert [(s.metric, s.value) for s in result.scores] == [("pass@1", 0.5)]


@needs_data
def test_raw_files_give_what_tidy_ones_give(engine: Engine) -> None:
    raw = PAPER / "raw" / "generations-defectdetection-starcoderbase-1b-lora.json.gz"
    tidy = PAPER / "generations" / "defect__1b__lora.jsonl.gz"
    a = scored(raw, "devign", PAPER / "gold", engine=engine)
    b = scored(tidy, "devign", PAPER, engine=engine)
    assert a.scores == b.scores
    assert a.samples == b.samples


ROWS = Layout([str(i) for i in range(1640)], ("row",))


@needs_data
@pytest.mark.parametrize(
    ("raw", "tidy", "layout"),
    [
        (
            "generations-humaneval-format-num_seeds_5-starcoderbase-1b-lora",
            "recode_format",
            ROWS,
        ),
        ("generations-humanevalexplainsynthesize-python-starcoderbase-1b-lora", "humanevalexplain_python", None),
        ("generations-humanevalsynthesizepython-starcoderbase-1b-lora", "humanevalsynth_python", None),
    ],
)
def test_raw_files_hold_what_tidy_ones_hold(raw: str, tidy: str, layout: Layout | None) -> None:
    layout = layout or Layout([f"Python/{i}" for i in range(164)], ("task_id",), folded=True)
    a = read_generations(PAPER / "raw" / f"{raw}.json.gz", layout)
    assert a == read_generations(PAPER / "generations" / f"{tidy}__1b__lora.jsonl.gz", layout)


@needs_data
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[["a"], ["b"', "cut short"),
        (b"", "is empty"),
        (b"hello", "not JSON"),
        (b"\x1f\x8b\x08\x00abc", "gzip stream is damaged"),
        (b"PAR1 and no more", "damaged Parquet"),
        (b"\xff\xfe\x00", "neither UTF-8 text nor Parquet"),
        (b"[1, 2]", "expected lists or objects"),
        (b'[["a"]]', "1 problems, the task has 164"),
        (b'{"a": 1}', "names no problem"),
        (
            b'{"task_id": "Java/3", "samples": ["a"]}\n{"task_id": "Python/999", "samples": ["a"]}',
            "'Python/999' is not in",
        ),
        (b'{"task_id": "Python/3", "samples": [3]}', "a sample is int"),
        (b'{"task_id": "Python/3", "samples": ["a"]}\n{"task_id": "Python/3", "samples": ["a"]}', "there twice"),
    ],
)
@pytest.mark.promise("what can't be scored is said in one line")
def test_bad_generations_are_one_line(content: bytes, message: str, tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "generations.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        scored(path, "humanevalsynthesize-python", PAPER / "gold", engine=engine)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["generations.json"]


@needs_data
@pytest.mark.promise("what can't be scored is said in one line")
def test_wrong_counts_unknown_tasks_and_missing_gold_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "generations.json"
    path.write_text(json.dumps([["a"]] * 163 + [["a", "b"]]))
    with pytest.raises(DataError, match="Python/163 has 2 samples, expected 1"):
        scored(path, "humanevalfix-python", PAPER / "gold")
    with pytest.raises(UsageError, match="did you mean 'devign'"):
        scored(path, "devgin", PAPER / "gold")
    with pytest.raises(DataError, match=r"no humanevalpack_python\.jsonl\.gz there"):
        scored(path, "humanevalfix-python", tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        scored(path, "humanevalfix-python", tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such file"):
        scored(tmp_path / "nothing", "humanevalfix-python", PAPER / "gold")
    with pytest.raises(UsageError, match=r"humanevalfix-python takes no option 'language-level': .*humanevalfix-java"):
        scored(path, "humanevalfix-python", PAPER / "gold", language_level=8)
    with pytest.raises(UsageError, match="needs the model itself"):
        scored(path, "perplexity", PAPER / "gold")


def test_robust_pass_is_the_worst_transformation_over_all_seeds() -> None:
    task = TASKS.get("recode-format")
    gold, passed = [], []
    for kind, seeds in (("a", 1), ("b", 3)):
        for seed in range(seeds):
            for problem in range(4):
                gold.append({"perturbation_name": kind, "seed": seed, "task_id": problem})
                passed.append([problem < 3 and not (kind == "b" and seed == 2 and problem == 1)])
    robust, change, mean = task.scores(gold, passed, 0, 0.75)
    assert (robust.metric, robust.value, robust.n) == ("robust_pass@1", 0.5, 4)
    assert (change.metric, change.value, change.ci_low) == ("robust_change@1", 0.25, None)
    assert (mean.metric, mean.value, mean.n) == ("mean_pass@1", 11 / 16, 4)


@needs_data
def test_nominal_is_a_fraction(engine: Engine) -> None:
    path = PAPER / "generations" / "recode_format__3b__lora.jsonl.gz"
    with pytest.raises(UsageError, match=r"nominal = 21\.3: must be at least 0 and at most 1"):
        scored(path, "recode-format", PAPER / "gold", engine=engine, nominal=21.3)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (" Yes", 1),
        (" NO", 0),
        ("no, there is a defect", 0),
        ("I know it: yes.", -1),
        ("I do not see. There is a defect", 0),
        ("yes and no", -1),
        ("yes, no", 1),
        ("there is no defect", 0),
        ("It has a defect", 1),
        ("\n", -1),
    ],
)
def test_yes_or_no(answer: str, label: int) -> None:
    assert yes_or_no(answer, YES, NO) == label


def test_the_answer_follows_the_last_marker() -> None:
    assert after_answer("Question\nAnswer: Yes\n\nQuestion\nAnswer: No") == " No"


@needs_data
def test_the_papers_rows_are_drawn_as_the_gold_file_marks_them() -> None:
    gold = lines("gold/defect_gold.jsonl.gz")
    assert paper_sample([int(row["true_label"]) for row in gold]) == [row["in_paper_sample"] for row in gold]


def test_macro_f1_counts_invalid_as_a_label() -> None:
    assert macro_f1([1, 1, 0, 0], [1, -1, 0, -1]) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert macro_f1([1, 0], [1, 0]) == 1.0


def test_bigclonebench_scores_its_rows(tmp_path: Path) -> None:
    rows = [{"id": i, "label": i % 2, "in_paper_sample": i < 8} for i in range(10)]
    (tmp_path / "bigclonebench.jsonl").write_text("\n".join(map(json.dumps, rows)))
    answers = [{"id": i, "answer": "Yes" if i % 2 else "No"} for i in range(10)]
    answers[8]["answer"] = "Yes"
    (tmp_path / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)))
    result = scored(tmp_path / "answers.jsonl", "bigclonebench", tmp_path)
    assert (result.scores[0].metric, result.scores[0].value, result.n_items) == ("f1_macro", 1.0, 8)


def test_c_functions_end_where_their_brace_closes() -> None:
    text = "if (a) { puts(\"}\"); } // }\n /* } */ char c = '}';\nreturn 0;\n}\nint other() { }"
    assert until_closed(text).endswith("return 0;\n")
    assert until_closed("x = 1;\n// unfinished") == "x = 1;\n// unfinished"


@pytest.mark.parametrize(
    ("name", "model", "method"),
    [
        ("humanevalfix_java__1b__lora.jsonl.gz", "bigcode/starcoderbase-1b", "lora"),
        ("defect__15b__fft.jsonl.gz", "bigcode/starcoderbase", "fft"),
        ("generations-humanevalsynthesizejava-starcoderbase-3b-fft.json.gz", "bigcode/starcoderbase-3b", "fft"),
        ("generations-humanevalfix-starcoderbase-adapterh.json", "bigcode/starcoderbase", "adapterh"),
        ("mine.jsonl", None, None),
    ],
)
def test_model_and_method_are_read_from_the_name(name: str, model: str | None, method: str | None) -> None:
    found = identify(Path(name))
    assert (found.model_id, found.method_id) == (model, method)


@needs_data
def test_aatk_counts_forty_scenarios_and_takes_sarif(engine: Engine, tmp_path: Path) -> None:
    gold = lines("gold/aatk_dow.jsonl.gz")
    path = tmp_path / "aatk.jsonl"
    path.write_text("\n".join(json.dumps({"scenario_id": row["scenario_id"], "completions": [""]}) for row in gold))
    location = {"physicalLocation": {"artifactLocation": {"uri": "file:///x/CWE-502-0/0.py"}}}
    run = {"tool": {"driver": {"name": "Other", "version": "1"}}, "results": [{"locations": [location]}]}
    sarif = tmp_path / "found.sarif"
    sarif.write_text(json.dumps({"version": "2.1.0", "runs": [run]}))
    result = scored(path, "aatk", PAPER / "gold", engine=engine, sarif=sarif)
    assert result.n_items == 40
    assert result.scores[1].metric == "insecure_sarif"
    assert result.settings["comparable_with_paper"] is False
    words = {sample.item_id: sample.verdict for sample in result.samples}
    assert words["DoW/CWE-502-0"] == "insecure"
    sarif.write_text(json.dumps({"version": "2.0.0", "runs": []}))
    with pytest.raises(DataError, match=r"not SARIF 2\.1\.0"):
        scored(path, "aatk", PAPER / "gold", engine=engine, sarif=sarif)
    with pytest.raises(UsageError, match="extraction = 'best': known: as_generated, function, last_statement"):
        scored(path, "aatk", PAPER / "gold", engine=engine, extraction="best")


def test_every_task_is_found() -> None:
    wanted = {"devign", "bigclonebench", "aatk", "perplexity"}
    wanted |= {
        f"humaneval{kind}-{language}" for kind in ("synthesize", "fix", "explain") for language in ("python", "java")
    }
    wanted |= {f"recode-{kind}" for kind in ("format", "function", "syntax", "docstring")}
    assert wanted <= set(TASKS.names())
