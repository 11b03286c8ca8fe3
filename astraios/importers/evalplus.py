"""EvalPlus: eval_results.json, with the verdict of every sample on the plain tests and on the added ones.

HumanEval and MBPP become two tasks each: the plain one (`humaneval`) and the one with all tests (`humaneval+`), pass@k
by the unbiased estimator over the samples. The model is what the file is called, as EvalPlus names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._evaluations import Evaluation, add_evaluation, model_facts
from astraios.importers._files import head, read_object, walk
from astraios.importers._runs import Found, Skipped, imported, task_row
from astraios.records import EvaluationRow, SampleScore, TaskRow

_NAME = re.compile(
    r"^(?P<model>.+?)(?:_(?:vllm|hf|openai|google|anthropic|bedrock|ollama|gptqmodel)_temp_(?P<heat>\d+(?:\.\d+)?))?$"
)


@dataclass(frozen=True)
class EvalPlus(Importer):
    """A file of results, or a folder with some."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_results(path)) if path.is_dir() else _looks_right(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        runs: dict[str, Found] = {}
        tasks: dict[str, TaskRow] = {}
        for file in _results(path) if path.is_dir() else [path]:
            with skipped.item(file):
                name, heat = _named(file)
                told, folder = model_facts(name, None, file.parent)
                run = runs.setdefault(
                    name,
                    Found(name, [name], told.facts, source=told.source, place=str(folder or ""), joins=[name]),
                )
                for one in _evaluations(file, heat):
                    tasks[one.task.task_id] = one.task
                    add_evaluation(run, one, file.name, skipped)
        return imported(self.name, runs.values(), wanted, skipped, tasks, adds=True)


evalplus = EvalPlus(name="evalplus", title="EvalPlus results", priority=3)


def _results(folder: Path) -> list[Path]:
    return [path for path in walk(folder, "*eval_results.json") if _looks_right(path)]


def _looks_right(path: Path) -> bool:
    start = head(path, 1 << 16)
    return path.name.endswith("eval_results.json") and b'"base_status"' in start and b'"eval"' in start


def _named(path: Path) -> tuple[str, float]:
    """The model that a file is called after, and the temperature of its samples (0 where it does not say)."""
    stem = path.name.removesuffix("eval_results.json").rstrip("._-").removesuffix(".jsonl")
    found = _NAME.match(stem or path.parent.name)
    heat = float(found["heat"]) if found and found["heat"] else 0.0
    return (found["model"] if found else stem).replace("--", "/"), heat


def _evaluations(path: Path, heat: float) -> Iterator[Evaluation]:
    """The plain task and the one with all tests; samples that are not the likeliest are another evaluation.

    Raises:
        DataError: no problem has a verdict for every sample.
    """
    from astraios.evaluate.tasks._estimate import pass_scores

    content = read_object(path)
    items = content.get("eval")
    if not isinstance(items, Mapping) or not items:
        raise DataError(f"{path}: no verdicts under eval")
    kind, found = str(next(iter(items))).partition("/")[0].lower(), False
    for name, status in ((kind, "base_status"), (f"{kind}+", "plus_status")):
        verdicts: dict[str, list[bool]] = {}
        for item, samples in items.items():
            told = [one.get(status) for one in samples if isinstance(one, Mapping)]
            if name.endswith("+"):
                told = [
                    plus if base == "pass" else base
                    for plus, base in zip(told, [one.get("base_status") for one in samples], strict=True)
                ]
            if None not in told and told:
                verdicts[str(item)] = [one == "pass" for one in told]
        if len(verdicts) != len(items):
            continue
        if len({len(one) for one in verdicts.values()}) > 1:
            raise DataError(f"{path}: {name}: not every problem has as many samples")
        scores = pass_scores(name, list(verdicts.values()))
        found = True
        settings: dict[str, Any] = {
            "source": path.name,
            "dataset_hash": content.get("hash"),
            "created": content.get("date"),
        }
        rows = [
            SampleScore(
                task_id=name, item_id=item, sample=place, value=float(one), verdict="passed" if one else "failed"
            )
            for item, samples in verdicts.items()
            for place, one in enumerate(samples)
        ]
        yield Evaluation(
            row=EvaluationRow(task_id=name, n_shot=0, n_items=len(verdicts), settings=settings),
            scores=list(scores),
            samples=rows,
            task=task_row(name, "pass@1"),
            variant=f"temperature={heat:g}" if heat else "",
        )
    if not found:
        raise DataError(f"{path}: no problem has a verdict for every sample")
