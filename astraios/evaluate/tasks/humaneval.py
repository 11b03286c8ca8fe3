"""HumanEval as it is: the nominal score from which ReCode's perturbations take something away.

One greedy sample, asked as ReCode asks (figure 18). The generations behind the paper's nominal scores are not released;
that they were asked in this form is taken from table 4, where RP and RC add up to one k/164 for each model.

Example:
    Question: Create a Python script for this problem.

    Answer: def has_close_elements(numbers: List[float], threshold: float) -> bool:
        \"\"\" Check if in given list of numbers, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.evaluate.options import ScoreOptions
from astraios.evaluate.tasks import Decoding, Prompt, Scoring
from astraios.evaluate.tasks._completion import DECODING, LIMITS, checked, completion
from astraios.evaluate.tasks._estimate import pass_scores
from astraios.evaluate.tasks._files import Layout, read_generations
from astraios.evaluate.tasks._generated import GeneratedTask
from astraios.evaluate.tasks._gold import Gold, digest
from astraios.evaluate.tasks._humaneval import run
from astraios.records import SampleScore, TaskResult

GOLD = Gold(
    name="humaneval_nominal",
    fields=("task_id", "prompt", "entry_point", "test"),
    hub="openai/openai_humaneval:openai_humaneval/test-00000-of-00001.parquet",
)


@dataclass(frozen=True, kw_only=True)
class HumanEval(GeneratedTask):
    """pass@1 over 164 problems: tests raise nothing within 3 s."""

    def gold_files(self, options: ScoreOptions) -> Sequence[Gold]:
        return (GOLD,)

    def gold(self, scoring: Scoring) -> list[dict[str, Any]]:
        """Rows of HumanEval."""
        return GOLD.rows(scoring.options)[: scoring.options.limit]

    def score(self, path: Path, scoring: Scoring) -> TaskResult:
        """pass@k."""
        gold = self.gold(scoring)
        layout = Layout(
            [row["task_id"] for row in gold], ("task_id",), prefixes=[row["prompt"].strip() for row in gold]
        )
        texts = read_generations(path, layout)
        pairs = [(row, text) for row, samples in zip(gold, texts, strict=True) for text in samples]
        verdicts, level = run(scoring, [checked(row, text) for row, text in pairs])
        n, failed = len(texts[0]), sum(not verdict.judged for verdict in verdicts)
        samples = tuple(
            SampleScore(self.name, row["task_id"], i % n, float(verdict.passed), verdict.verdict)
            for i, ((row, _), verdict) in enumerate(zip(pairs, verdicts, strict=True))
        )
        passed = [[verdict.passed for verdict in verdicts[i * n : (i + 1) * n]] for i in range(len(gold))]
        settings = {"gold": digest(gold), "samples": n, "cpu_seconds": LIMITS.cpu_seconds}
        scores, came = pass_scores(self.name, passed, failed), GOLD.commit(scoring.options)
        return TaskResult(scores, samples, len(gold), level, settings, came)

    def prompts(self, scoring: Scoring) -> list[Prompt]:
        """Figure 18."""
        return [completion(row["task_id"], row["prompt"]) for row in self.gold(scoring)]

    def decoding(self) -> Decoding:
        """Greedy, 1,024 tokens in all."""
        return DECODING


HUMANEVAL = HumanEval(
    name="humaneval",
    title="HumanEval, greedy",
    kind="robustness",
    metric="pass@1",
    chance=0.0,
    n_problems=164,
    citation="Chen et al., 2021 (arXiv 2107.03374); ASTRAIOS table 4 (RP + RC)",
)
