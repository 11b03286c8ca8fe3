"""The published numbers of ASTRAIOS (Zhuo et al., 2024, arXiv:2401.00788): tables 1 to 5, 7, 8 and appendix I.

The paper prints no losses: its figures 3, 4, 8 to 11, 13 and 14 have no numbers to import.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from astraios.importers import Imported, Importer, Wanted

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
    import polars as pl

    cells = read_tables()
    tables = {
        "base_model": _base_models(),
        "tuning_method": [dict(zip(("method_id", "title", "kind", "citation"), (name, *about), strict=True))
                          for name, about in METHODS.items()],
        "dataset": [{"dataset_id": DATASET, "name": "bigcode/guanaco-commits", "hash": "not published",
                     "settings": json.dumps({"source": SOURCE, "sequence_length": 2048})}],
        "run": _runs(cells),
        "attempt": [{"run_id": run_id(method, size), "attempt": 1, "state": "done"}
                    for method in METHODS for size in MODELS],
        "task": tasks(),
        **_scores(cells),
        "correlation": _correlations(cells),
    }  # fmt: skip
    return {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in tables.items()}


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


def _base_models() -> list[dict[str, Any]]:
    return [
        {"model_id": model, "ladder": LADDER, "architecture": "GPTBigCodeForCausalLM", "n_params": n,
         "n_params_nonembedding": n - EMBEDDINGS * width}
        for model, width, n in MODELS.values()
    ]  # fmt: skip


def _runs(cells: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Section 2.2: 200 steps at a peak rate of 1e-4 (1e-6 in full); the seed is that of the authors' code."""
    trainable = {(c["method"], c["size"]): int(c["value"]) for c in cells if c["table"] == "1"}
    rows = []
    for method in METHODS:
        for size, (model, width, n) in MODELS.items():
            rows.append({
                "run_id": run_id(method, size), "origin": ORIGIN, "model_id": model, "method_id": method,
                "dataset_id": DATASET, "seed": 0, "n_params": n, "n_params_nonembedding": n - EMBEDDINGS * width,
                "n_trainable": trainable[method, size], "steps": 200,
                "learning_rate": 1e-6 if method == "fft" else 1e-4,
                "settings": json.dumps({"source": SOURCE, "size": size}),
            })  # fmt: skip
    return rows


def tasks() -> list[dict[str, Any]]:
    """Rows of the table task: the paper's thirteen."""
    return [
        {"task_id": name, "title": title, "kind": kind, "metric": metric, "chance": chance, "ceiling": 1.0,
         "higher_is_better": higher, "citation": SOURCE}
        for name, (title, kind, metric, chance, higher, _) in TASKS.items()
    ]  # fmt: skip


def _scores(cells: list[dict[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """Tables 2 to 5, per cent turned into fractions."""
    scores, evaluations = [], {}
    for cell in cells:
        if cell["table"] not in {"2", "3", "4", "5"}:
            continue
        task, key = task_id(cell), run_id(cell["method"], cell["size"])
        items = TASKS[task][5]
        metric = METRICS.get(cell["metric"], cell["metric"])
        row = {"run_id": key, "attempt": 1, "task_id": task, "n_shot": 0, "n": items}
        scores.append({**row, "metric": metric, "value": round(float(cell["value"]) / 100, 6)})
        settings: dict[str, Any] = {"source": f"{SOURCE}, table {cell['table']}"}
        released = RELEASED.get((cell["method"], cell["size"], task))
        if released is not None:
            scores.append({**row, "metric": f"{metric} (released)", "value": released})
            settings["contradicted"] = f"the released generations give {100 * released:.2f}"
        evaluations[key, task] = {"run_id": key, "attempt": 1, "task_id": task, "n_shot": 0, "n_items": items,
                                  "settings": json.dumps(settings)}  # fmt: skip
    return {"evaluation": list(evaluations.values()), "score": scores}


def _correlations(cells: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Tables 7 and 8 and the sentence of appendix I; p-values are printed only over all sizes."""
    printed = {(c["table"], c["size"], c["metric"]): float(c["value"]) for c in cells if c["table"] in {"7", "8", "I"}}
    rows = []
    for (table, size, metric), value in printed.items():
        if metric.endswith("_p"):
            continue
        loss = next((name for name in ("train_loss", "test_loss") if metric.startswith(name)), None)
        x, y = {"7": ("n_trainable", loss), "8": (loss, "mean_score"), "I": ("n_trainable", "mean_score")}[table]
        overall = size not in MODELS
        rows.append({
            "origin": ORIGIN, "ladder": LADDER, "dataset_id": DATASET, "x": x, "y": y,
            "n_params": None if overall else MODELS[size][2],
            "coefficient": next(name for name in ("kendall", "pearson", "spearman") if name in metric),
            "value": value, "p_value": printed.get((table, size, f"{metric}_p")),
            "n_points": len(METHODS) * (len(MODELS) if overall else 1),
            "source": f"{SOURCE}, {'appendix I' if table == 'I' else f'table {table}'}",
        })  # fmt: skip
    return rows


@dataclass(frozen=True)
class Paper(Importer):
    """The study that comes with astraios."""

    def matches(self, source: str) -> bool:
        return source == self.name

    def read(self, source: str, wanted: Wanted) -> Imported:
        return Imported(frames())


paper = Paper(name="paper", title="the published tables of ASTRAIOS")
