"""ReCode: does a model still solve HumanEval when the prompt is perturbed in ways that change nothing?

Example (function, butter fingers):
    Question: Create a Python script for this problem.

    Answer: def has_flose_elements(numbers: List[float], threshold: float) -> bool:
        \"\"\" Check if in given list of numbers, ...
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.evaluate.execute import Limits, Program
from astraios.evaluate.tasks import Decoding, Prompt, Scoring, cut
from astraios.evaluate.tasks._estimate import pass_at_k, share
from astraios.evaluate.tasks._files import Layout, digest, gold_rows, read_generations
from astraios.evaluate.tasks._generated import GeneratedTask
from astraios.evaluate.tasks._humaneval import END, STOPS, run
from astraios.records import SampleScore, Score, TaskResult
from astraios.settings import setting

LIMITS = Limits(cpu_seconds=3.0)
FILES = {
    "format": "recode_format",
    "function": "recode_func_name",
    "syntax": "recode_natgen",
    "docstring": "recode_nlaugmenter",
}
TITLES = {"function": "function names"}
INSTRUCTION = "Question: Create a Python script for this problem.\n\nAnswer: "


@dataclass(frozen=True)
class ReCodeOptions:
    """What ReCode takes beside the options of all tasks."""

    nominal: float | None = setting(None, minimum=0, maximum=1, unit="fraction")
    """Greedy HumanEval pass@1 of the same model; Robust Change needs it."""


@dataclass(frozen=True, kw_only=True)
class ReCode(GeneratedTask):
    """Robust Pass@1: the share of problems on which every seed of a transformation passes, for the worst one."""

    category: str

    @property
    def own_options(self) -> type:
        return ReCodeOptions

    def gold(self, scoring: Scoring) -> list[dict[str, Any]]:
        """Perturbed rows, in ASCII order of the released files' names."""
        fields = ("task_id", "prompt", "entry_point", "test", "perturbation_name", "seed")
        return gold_rows(FILES[self.category], scoring.options, fields)[: scoring.options.limit]

    def score(self, path: Path, scoring: Scoring) -> TaskResult:
        """Robust Pass@k of the category and of each transformation; Robust Change@1 where the nominal is given."""
        nominal = scoring.options.of(ReCodeOptions).nominal
        gold = self.gold(scoring)
        texts = read_generations(path, Layout([str(i) for i in range(len(gold))], ("row",)))
        programs = [
            Program("python", text, f"{row['test']}\ncheck({row['entry_point']})", limits=LIMITS)
            for row, samples in zip(gold, texts, strict=True)
            for text in samples
        ]
        verdicts, level = run(scoring, programs)
        n = len(texts[0])
        passed = [[verdict.passed for verdict in verdicts[i * n : (i + 1) * n]] for i in range(len(gold))]
        failed = sum(not verdict.judged for verdict in verdicts)
        samples = tuple(
            SampleScore(
                self.name,
                f"{gold[i // n]['perturbation_name']}/{gold[i // n]['seed']}/{gold[i // n]['task_id']}",
                i % n,
                float(verdict.passed),
                verdict.verdict,
            )
            for i, verdict in enumerate(verdicts)
        )
        scores = self.scores(gold, passed, failed, nominal)
        n_items = len({row["task_id"] for row in gold})
        settings = {"gold": digest(gold), "samples": n, "cpu_seconds": LIMITS.cpu_seconds, "nominal": nominal}
        return TaskResult(scores, samples, n_items, level, settings)

    def scores(
        self, gold: list[dict[str, Any]], passed: list[list[bool]], failed: int, nominal: float | None
    ) -> tuple[Score, ...]:
        """All metrics.

        Args:
            gold: the rows.
            passed: for each row, whether each of its samples passed.
            failed: samples that could not be judged.
            nominal: greedy pass@1 on the unperturbed problems.
        """
        n = len(passed[0])
        robust: dict[str, dict[str, list[bool]]] = {}
        for row, outcome in zip(gold, passed, strict=True):
            problems = robust.setdefault(row["perturbation_name"], {})
            before = problems.setdefault(row["task_id"], [True] * n)
            problems[row["task_id"]] = [a and b for a, b in zip(before, outcome, strict=True)]
        found: list[Score] = []
        for k in (1, 10):
            if k > n:
                continue
            by_kind = {
                kind: share(
                    self.name,
                    f"robust_pass@{k}",
                    [pass_at_k(n, sum(row), k) for row in problems.values()],
                    n_failed=failed,
                )
                for kind, problems in robust.items()
            }
            worst = min(by_kind.values(), key=lambda score: score.value)
            found.append(worst)
            if k == 1 and nominal is not None:
                change = abs(nominal - worst.value)
                found.append(Score(self.name, "robust_change@1", change, None, None, None, worst.n, failed))
        variants = [pass_at_k(n, sum(row), 1) for row in passed]
        found.append(
            share(self.name, "mean_pass@1", variants, clusters=[row["task_id"] for row in gold], n_failed=failed)
        )
        return tuple(found)

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """Figure 18."""
        stops = (*STOPS["python"], END)
        rows = self.gold(scoring)
        if not rows:
            raise DataError(f"{self.name}: no gold rows")
        return [
            Prompt(item_id=str(i), text=INSTRUCTION + row["prompt"], stop=stops, prefix=row["prompt"])
            for i, row in enumerate(rows)
        ]

    def cluster(self, item_id: str) -> str:
        """The problem, whose perturbations are far from independent: transformation/seed/problem."""
        return item_id.split("/", 2)[2]

    def finish(self, prompt: Prompt, answer: str) -> str:
        """Prompt and answer, cut at the next thing on the top level."""
        return prompt.prefix + cut(answer, prompt.stop)

    def decoding(self) -> Decoding:
        """Greedy, 1,024 tokens in all."""
        return Decoding(max_length=1024)


RECODE = tuple(
    ReCode(
        name=f"recode-{category}",
        id_key="row",
        title=f"ReCode, {TITLES.get(category, category)}",
        kind="robustness",
        metric="robust_pass@1",
        chance=0.0,
        lower_is_better=("robust_change@1",),
        citation="Wang et al., 2023, ReCode; ASTRAIOS table 4",
        category=category,
    )
    for category in FILES
)
