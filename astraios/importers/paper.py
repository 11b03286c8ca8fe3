"""The published numbers of ASTRAIOS (Zhuo et al., 2024, arXiv:2401.00788): tables 1 to 5, 7, 8 and appendix I.

The paper prints no losses: its figures 3, 4, 8 to 11, 13 and 14 have no numbers to import.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from astraios.importers import Imported, Importer, Wanted
from astraios.records import (
    AttemptRow,
    BaseModelRow,
    CorrelationRow,
    DatasetRow,
    EvaluationRow,
    RunRow,
    Score,
    TaskRow,
    TuningMethodRow,
    frame,
)

if TYPE_CHECKING:
    import polars as pl

ORIGIN = "published"
LADDER = "starcoderbase"
DATASET = "bigcode/guanaco-commits@paper"
SOURCE = "Zhuo et al., 2024, arXiv:2401.00788"

EMBEDDINGS = 49_152 + 8_192
"""Rows of the token and position embeddings of StarCoderBase."""
MODELS = {
    # size in the paper: hub id, width, total parameters (table 1, row FFT)
    "1b": ("bigcode/starcoderbase-1b", 2048, 1_137_207_296),
    "3b": ("bigcode/starcoderbase-3b", 2816, 3_043_311_104),
    "7b": ("bigcode/starcoderbase-7b", 4096, 7_327_263_232),
    "16b": ("bigcode/starcoderbase", 6144, 15_517_456_384),
}
METHODS = {
    "lora": ("LoRA", "low-rank", "Hu et al., 2021, arXiv:2106.09685"),
    "ptuning": ("P-Tuning", "prompt", "Liu et al., 2023, arXiv:2103.10385"),
    "ia3": ("(IA)3", "scaling", "Liu et al., 2022, arXiv:2205.05638"),
    "adapterh": ("AdapterH", "adapter", "Houlsby et al., 2019, arXiv:1902.00751"),
    "adapterp": ("AdapterP", "adapter", "Pfeiffer et al., 2020, arXiv:2005.00052"),
    "parallel": ("Parallel", "adapter", "He et al., 2021, arXiv:2110.04366"),
    "fft": ("FFT", "full", SOURCE),
}
TASKS: dict[str, tuple[str, str, str, float | None, bool, int]] = {
    # task_id: title, kind, main metric, score of guessing, higher is better, independent items
    "devign": ("Defect detection", "comprehension", "accuracy", 0.5, True, 2000),
    "bigclonebench": ("Clone detection", "comprehension", "f1_macro", None, True, 2000),
    "humanevalsynthesize-python": ("Code synthesis, Python", "generation", "pass@1", 0.0, True, 164),
    "humanevalfix-python": ("Code repair, Python", "generation", "pass@1", 0.0, True, 164),
    "humanevalexplain-python": ("Code explanation, Python", "generation", "pass@1", 0.0, True, 164),
    "humanevalsynthesize-java": ("Code synthesis, Java", "generation", "pass@1", 0.0, True, 164),
    "humanevalfix-java": ("Code repair, Java", "generation", "pass@1", 0.0, True, 164),
    "humanevalexplain-java": ("Code explanation, Java", "generation", "pass@1", 0.0, True, 164),
    "recode-format": ("ReCode, format", "robustness", "robust_pass@1", 0.0, True, 164),
    "recode-function": ("ReCode, function names", "robustness", "robust_pass@1", 0.0, True, 164),
    "recode-syntax": ("ReCode, syntax", "robustness", "robust_pass@1", 0.0, True, 164),
    "recode-docstring": ("ReCode, docstring", "robustness", "robust_pass@1", 0.0, True, 164),
    "aatk": ("Asleep at the Keyboard", "security", "insecure", None, False, 40),
}
COMPREHENSION = {"defect_detection": "devign", "clone_detection": "bigclonebench", "aatk_dow": "aatk"}
METRICS = {"f1_macro_3class": "f1_macro", "valid_pct": "valid", "insecure_pct": "insecure"}
RELEASED = {
    # Printed cells that the released generations contradict: the share of programs that pass at Java language level 8.
    ("lora", "1b", "humanevalsynthesize-java"): 340 / 3280,
    ("fft", "1b", "humanevalfix-java"): 104 / 3280,
}


def frames() -> dict[str, pl.DataFrame]:
    """Rows for base_model, tuning_method, dataset, run, attempt, task, evaluation, score and correlation.

    28 runs of origin "published", one attempt each, scores as fractions. The two printed cells that the released
    generations contradict keep their printed value as pass@1; the other value stands beside it as "pass@1 (released)".
    """
    cells = read_tables()
    runs = _runs(cells)
    tables: dict[str, tuple[Sequence[Any], dict[str, Any]]] = {
        "base_model": (_base_models(), {}),
        "tuning_method": (_methods(), {}),
        "dataset": ([_dataset()], {}),
        "run": (runs, {}),
        "attempt": ([AttemptRow(attempt=1, state="done") for _ in runs], {"run_id": [run.run_id for run in runs]}),
        "task": (tasks(), {}),
        **_scores(cells),
        "correlation": (_correlations(cells), {}),
    }
    return {name: frame(rows, **address) for name, (rows, address) in tables.items()}


def read_tables() -> list[dict[str, str]]:
    """The cells of the paper's tables: table, task, language, method, size, metric, value (as printed)."""
    text = (resources.files("astraios.importers") / "paper_tables.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def run_id(method: str, size: str) -> str:
    """Identifier of a published model; it can't clash with the hash of a run of ours."""
    return f"astraios-paper-{size}-{method}"


def task_id(cell: dict[str, str]) -> str:
    """The task of a cell of tables 2 to 5, by the name that astraios gives it."""
    name = cell["task"]
    if name in COMPREHENSION:
        return COMPREHENSION[name]
    if name.startswith("humaneval_"):
        return f"{name.replace('_', '')}-{cell['language']}"
    return name.replace("_", "-")


def _base_models() -> list[BaseModelRow]:
    return [
        BaseModelRow(
            model_id=model,
            ladder=LADDER,
            architecture="GPTBigCodeForCausalLM",
            n_params=n,
            n_params_nonembedding=n - EMBEDDINGS * width,
        )
        for model, width, n in MODELS.values()
    ]


def _methods() -> list[TuningMethodRow]:
    return [
        TuningMethodRow(method_id=name, title=title, kind=kind, citation=citation)
        for name, (title, kind, citation) in METHODS.items()
    ]


def _dataset() -> DatasetRow:
    return DatasetRow(
        dataset_id=DATASET,
        name="bigcode/guanaco-commits",
        hash="not published",
        settings={"source": SOURCE, "sequence_length": 2048},
    )


def _runs(cells: list[dict[str, str]]) -> list[RunRow]:
    """Section 2.2: 200 steps at a peak rate of 1e-4 (1e-6 in full); the seed is that of the authors' code."""
    trainable = {(c["method"], c["size"]): int(c["value"]) for c in cells if c["table"] == "1"}
    return [
        RunRow(
            run_id=run_id(method, size),
            origin=ORIGIN,
            model_id=model,
            method_id=method,
            dataset_id=DATASET,
            seed=0,
            n_params=n,
            n_params_nonembedding=n - EMBEDDINGS * width,
            n_trainable=trainable[method, size],
            steps=200,
            learning_rate=1e-6 if method == "fft" else 1e-4,
            settings={"source": SOURCE, "size": size},
        )
        for method in METHODS
        for size, (model, width, n) in MODELS.items()
    ]


def tasks() -> list[TaskRow]:
    """Rows of the table task: the paper's thirteen."""
    return [
        TaskRow(
            task_id=name,
            title=title,
            kind=kind,
            metric=metric,
            chance=chance,
            ceiling=1.0,
            higher_is_better=higher,
            citation=SOURCE,
        )
        for name, (title, kind, metric, chance, higher, _) in TASKS.items()
    ]


def _scores(cells: list[dict[str, str]]) -> dict[str, tuple[Sequence[Any], dict[str, Any]]]:
    """Tables 2 to 5, per cent turned into fractions: evaluations and scores, with their runs."""
    scores: list[tuple[str, Score]] = []
    evaluations: dict[tuple[str, str], EvaluationRow] = {}
    for cell in cells:
        if cell["table"] not in {"2", "3", "4", "5"}:
            continue
        task, key = task_id(cell), run_id(cell["method"], cell["size"])
        items = TASKS[task][5]
        metric = METRICS.get(cell["metric"], cell["metric"])
        scores.append((key, Score.told(task, metric, round(float(cell["value"]) / 100, 6), n=items)))
        settings: dict[str, Any] = {"source": f"{SOURCE}, table {cell['table']}"}
        released = RELEASED.get((cell["method"], cell["size"], task))
        if released is not None:
            scores.append((key, Score.told(task, f"{metric} (released)", released, n=items)))
            settings["contradicted"] = f"the released generations give {100 * released:.2f}"
        evaluations[key, task] = EvaluationRow(task_id=task, n_shot=0, n_items=items, settings=settings)
    return {
        "evaluation": (list(evaluations.values()), {"run_id": [key for key, _ in evaluations], "attempt": 1}),
        "score": ([score for _, score in scores], {"run_id": [key for key, _ in scores], "attempt": 1}),
    }


def _correlations(cells: list[dict[str, str]]) -> list[CorrelationRow]:
    """Tables 7 and 8 and the sentence of appendix I; p-values are printed only over all sizes."""
    printed = {(c["table"], c["size"], c["metric"]): float(c["value"]) for c in cells if c["table"] in {"7", "8", "I"}}
    rows = []
    for (table, size, metric), value in printed.items():
        if metric.endswith("_p"):
            continue
        loss = next((name for name in ("train_loss", "test_loss") if metric.startswith(name)), None)
        x, y = {"7": ("n_trainable", loss), "8": (loss, "mean_score"), "I": ("n_trainable", "mean_score")}[table]
        overall = size not in MODELS
        rows.append(
            CorrelationRow(
                origin=ORIGIN,
                ladder=LADDER,
                dataset_id=DATASET,
                x=str(x),
                y=str(y),
                n_params=None if overall else MODELS[size][2],
                coefficient=next(name for name in ("kendall", "pearson", "spearman") if name in metric),
                value=value,
                p_value=printed.get((table, size, f"{metric}_p")),
                n_points=len(METHODS) * (len(MODELS) if overall else 1),
                source=f"{SOURCE}, {'appendix I' if table == 'I' else f'table {table}'}",
            )
        )
    return rows


@dataclass(frozen=True)
class Paper(Importer):
    """The study that comes with astraios."""

    def matches(self, source: str) -> bool:
        return source == self.name

    def read(self, source: str, wanted: Wanted) -> Imported:
        return Imported(frames())


paper = Paper(name="paper", title="the published tables of ASTRAIOS")
