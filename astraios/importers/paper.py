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
from astraios.importers._models import method_row
from astraios.importers._runs import task_row
from astraios.models.ladders import LADDERS, Rung
from astraios.records import (
    AttemptRow,
    BaseModelRow,
    CorrelationRow,
    DatasetRow,
    EvaluationRow,
    RunRow,
    Score,
    frame,
)

if TYPE_CHECKING:
    import polars as pl

ORIGIN = "published"
LADDER = "starcoderbase"
DATASET = "bigcode/guanaco-commits@paper"
SOURCE = "Zhuo et al., 2024, arXiv:2401.00788"

ITEMS = {"devign": 2000, "bigclonebench": 2000, "aatk": 40}
"""Independent items behind a score, where they are not the 164 problems of HumanEval."""
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
        "tuning_method": ([method_row(method) for method in methods(cells)], {}),
        "dataset": ([_dataset()], {}),
        "run": (runs, {}),
        "attempt": ([AttemptRow(attempt=1, state="done") for _ in runs], {"run_id": [run.run_id for run in runs]}),
        "task": ([task_row(task, "") for task in dict.fromkeys(map(task_id, _scored(cells)))], {}),
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


def sizes() -> dict[str, Rung]:
    """The base models by their size as the cells have it: 1b, 3b, 7b, 16b."""
    return {rung.name.lower(): rung for rung in LADDERS.get(LADDER).rungs()}


def _total(rung: Rung) -> int:
    """Parameters of a base model of this ladder, which knows them all."""
    assert rung.n_params is not None
    return rung.n_params


def methods(cells: list[dict[str, str]]) -> list[str]:
    """The tuning methods, in the order in which table 1 has them."""
    return list(dict.fromkeys(cell["method"] for cell in cells if cell["table"] == "1"))


def _scored(cells: list[dict[str, str]]) -> list[dict[str, str]]:
    return [cell for cell in cells if cell["table"] in {"2", "3", "4", "5"}]


def _base_models() -> list[BaseModelRow]:
    return [
        BaseModelRow(
            model_id=rung.model_id,
            ladder=rung.ladder,
            architecture=rung.architecture,
            n_params=_total(rung),
            n_params_nonembedding=rung.n_params_nonembedding,
        )
        for rung in sizes().values()
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
            model_id=rung.model_id,
            method_id=method,
            dataset_id=DATASET,
            seed=0,
            n_params=_total(rung),
            n_params_nonembedding=rung.n_params_nonembedding,
            n_trainable=trainable[method, size],
            steps=200,
            learning_rate=1e-6 if method == "fft" else 1e-4,
            settings={"source": SOURCE, "size": size},
        )
        for method in methods(cells)
        for size, rung in sizes().items()
    ]


def _scores(cells: list[dict[str, str]]) -> dict[str, tuple[Sequence[Any], dict[str, Any]]]:
    """Tables 2 to 5, per cent turned into fractions: evaluations and scores, with their runs."""
    scores: list[tuple[str, Score]] = []
    evaluations: dict[tuple[str, str], EvaluationRow] = {}
    for cell in _scored(cells):
        task, key = task_id(cell), run_id(cell["method"], cell["size"])
        items = ITEMS.get(task, 164)
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
    rows, rungs = [], sizes()
    for (table, size, metric), value in printed.items():
        if metric.endswith("_p"):
            continue
        loss = next((name for name in ("train_loss", "test_loss") if metric.startswith(name)), None)
        x, y = {"7": ("n_trainable", loss), "8": (loss, "mean_score"), "I": ("n_trainable", "mean_score")}[table]
        overall = size not in rungs
        rows.append(
            CorrelationRow(
                origin=ORIGIN,
                ladder=LADDER,
                dataset_id=DATASET,
                x=str(x),
                y=str(y),
                n_params=None if overall else rungs[size].n_params,
                coefficient=next(name for name in ("kendall", "pearson", "spearman") if name in metric),
                value=value,
                p_value=printed.get((table, size, f"{metric}_p")),
                n_points=len(methods(cells)) * (len(rungs) if overall else 1),
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
