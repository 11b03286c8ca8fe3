"""Telling real code from a damaged copy by its likelihood: right when the real one is the likelier.

Two ways of damaging the answer of a held-out record, each one place at a time: `mutant` puts another operator, or
another of the function's own names, in the place of one; `line-order` swaps two neighbouring lines of the body.
Chance is one half. The mean difference of log-likelihoods is reported beside the accuracy as `margin`.

>>> import random
>>> mutate("def f(a, b):\\n    return a + b", random.Random(1))
'def f(a, b):\\n    return a - b'
"""

from __future__ import annotations

import io
import keyword
import math
import random
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from astraios.data.sources import Record
from astraios.errors import CellError
from astraios.evaluate.likelihood import score_tokens
from astraios.evaluate.tasks import Task, TunedModel
from astraios.evaluate.tasks.next_token import Z95, encode_records
from astraios.records import SampleScore, Score, TaskResult

ITEMS = 400
OPERATORS = {
    "+": "-",
    "-": "+",
    "*": "/",
    "/": "*",
    "//": "/",
    "%": "*",
    "==": "!=",
    "!=": "==",
    "<": ">=",
    ">=": "<",
    ">": "<=",
    "<=": ">",
    "and": "or",
    "or": "and",
    "+=": "-=",
    "-=": "+=",
}

Damage = Callable[[str, random.Random], str | None]


@dataclass(frozen=True, kw_only=True)
class LikelihoodPairs(Task):
    """Accuracy of preferring the real answer to the damaged one."""

    damage: Damage

    def evaluate(self, model: TunedModel) -> TaskResult:
        originals, damaged = self._pairs(model)
        prompts, real = encode_records(model, originals)
        _, other = encode_records(model, damaged)
        scores = score_tokens(model.model, [*real, *other], model.n_virtual)
        totals = [float(s.log_probability[n - 1 :].sum()) for s, n in zip(scores, prompts * 2, strict=True)]
        margins = np.array(totals[: len(real)]) - np.array(totals[len(real) :])
        hits = (margins > 0) + 0.5 * (margins == 0)
        n = len(hits)
        return TaskResult(
            scores=(self._accuracy(hits), self._margin(margins)),
            samples=tuple(
                SampleScore(self.name, str(i), 0, float(hit), "preferred" if hit > 0.5 else "not preferred")
                for i, hit in enumerate(hits)
            ),
            n_items=n,
        )

    def _pairs(self, model: TunedModel) -> tuple[list[Record], list[Record]]:
        """Records that fit the model whole, and their damaged copies; the same for every model and seed."""
        rng = random.Random(0)
        originals, damaged = [], []
        for record in model.held_out:
            changed = self.damage(record.completion, rng)
            if changed is None or changed == record.completion:
                continue
            copy = replace(record, completion=changed)
            try:
                _, pair = encode_records(model, [record, copy])
            except CellError:
                continue
            if len(pair) == 2 and max(map(len, pair)) < model.n_positions:
                originals.append(record)
                damaged.append(copy)
            if len(originals) == ITEMS:
                break
        if not originals:
            raise CellError(f"task {self.name}: no held-out record is code that can be damaged; leave the task out")
        return originals, damaged

    def _accuracy(self, hits: np.ndarray) -> Score:
        """Share of hits with Wilson's interval."""
        n, p = len(hits), float(hits.mean())
        centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n))
        return Score(self.name, "accuracy", p, math.sqrt(p * (1 - p) / n), centre - half, centre + half, n)

    def _margin(self, margins: np.ndarray) -> Score:
        n, mean = len(margins), float(margins.mean())
        stderr = float(margins.std(ddof=1) / math.sqrt(n)) if n > 1 else None
        low, high = (mean - Z95 * stderr, mean + Z95 * stderr) if stderr is not None else (None, None)
        return Score(self.name, "margin", mean, stderr, low, high, n)


def mutate(code: str, rng: random.Random) -> str | None:
    """One operator turned, or one name replaced by another of the same code; None where there is nothing to change."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return None
    names = [t for t in tokens[2:] if t.type == tokenize.NAME and not keyword.iskeyword(t.string)]
    sites: list[tuple[tokenize.TokenInfo, list[str]]] = [
        (t, [OPERATORS[t.string]]) for t in tokens if t.string in OPERATORS and t.type in (tokenize.OP, tokenize.NAME)
    ]
    if not sites:
        sites = [(t, sorted({o.string for o in names} - {t.string})) for t in names if t.start[0] > 1]
    sites = [(t, others) for t, others in sites if others]
    if not sites:
        return None
    site, others = rng.choice(sites)
    lines = code.split("\n")
    row, (start, end) = site.start[0] - 1, (site.start[1], site.end[1])
    lines[row] = lines[row][:start] + rng.choice(others) + lines[row][end:]
    return "\n".join(lines)


def swap_lines(code: str, rng: random.Random) -> str | None:
    """Two neighbouring lines of the same indentation swapped; None where there are none that differ."""
    lines = code.split("\n")
    sites = [
        i for i in range(1, len(lines) - 1) if lines[i] != lines[i + 1] and _indent(lines[i]) == _indent(lines[i + 1])
    ]
    if not sites:
        return None
    i = rng.choice(sites)
    lines[i], lines[i + 1] = lines[i + 1], lines[i]
    return "\n".join(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


mutant = LikelihoodPairs(
    name="mutant", title="Mutant detection", kind="likelihood", metric="accuracy", chance=0.5, damage=mutate
)
line_order = LikelihoodPairs(
    name="line-order", title="Line order", kind="likelihood", metric="accuracy", chance=0.5, damage=swap_lines
)
