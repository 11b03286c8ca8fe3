"""Conditions under which a command ends with exit code 1 after it has printed: for a script or a workflow that waits.

>>> check_gates(["p_best < 0.9"], {"p_best": 0.95, "width": None})
>>> check_gates(["p_best < 0.9"], {"p_best": 0.71, "width": None})
Traceback (most recent call last):
astraios.workflow.gates.GateError: --fail-if: p_best < 0.9 holds: p_best is 0.71
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from astraios.errors import AstraiosError, UsageError, did_you_mean
from astraios.fit.notes import CODES

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
_CONDITION = re.compile(rf"\s*([A-Za-z_]\w*)\s*(?:({'|'.join(_OPERATORS)})\s*(\S+)\s*)?")
FIT_FACTS = {
    "p_best": "largest probability that a method is the best one at the largest target",
    "loss": "lowest projected mean loss there",
    "width": "width of the widest interval of a new run there, as a share of its mean",
    "backtest_error": "mean distance of hidden sizes from their predictions, as a share",
    "coverage": "share of hidden runs inside the interval of a new run",
    "n_warnings": "warnings",
}
"""Numbers that conditions on a projection may name; so may codes of warnings: 1 where one was given, else 0."""
FIT_NAMES = (*FIT_FACTS, *CODES)


class GateError(AstraiosError):
    """A condition of --fail-if holds, or can't be decided."""


def check_conditions(conditions: Sequence[str], known: Iterable[str]) -> None:
    """Refuses conditions that make no sense, before anything is computed.

    Args:
        conditions: as NAME OP NUMBER, or NAME for "is not 0".
        known: names of numbers, and codes of warnings.

    Raises:
        UsageError: no condition, or an unknown name.
    """
    for text in conditions:
        name, *_ = _read(text)
        if name not in known:
            raise UsageError(f"--fail-if {text!r}: nothing is called {name!r}; {did_you_mean(name, known)}")


def check_gates(conditions: Sequence[str], facts: Mapping[str, Any]) -> None:
    """Refuses to go on where a condition holds.

    Args:
        conditions: as for `check_conditions`.
        facts: numbers by name; None where it is not known. A name that is not there is 0.

    Raises:
        GateError: one holds, or needs a number that is not known.
    """
    for text in conditions:
        name, compares, limit = _read(text)
        value = facts.get(name, 0.0)
        if value is None or not math.isfinite(value):
            raise GateError(f"--fail-if: {text.strip()} can't be decided: {name} is not known here")
        if compares(value, limit) if compares else bool(value):
            said = f"{name} is {value:.4g}" if compares else "it was given"
            raise GateError(f"--fail-if: {text.strip()} holds: {said}")


def fit_facts(content: Mapping[str, Any]) -> dict[str, float | None]:
    """The numbers of `FIT_FACTS` and the codes of warnings, of an analysis as `fit-scaling --json` has it."""
    losses = [p for fit in content["fits"] for p in fit["projections"] if p["quantity"] == "loss"]
    targets, hidden = ([p for p in losses if p["role"] == role] for role in ("target", "backtest"))
    largest = max((p["n_params"] for p in targets), default=None)
    there = [p for p in targets if p["n_params"] == largest]
    ranked = [r for r in content["ranking"] if r["quantity"] == "loss" and r["n_params"] == largest]
    seen = [p for p in hidden if p["observed"] is not None]
    inside = [p["new_low"] <= p["observed"] <= p["new_high"] for p in seen if p["new_low"] is not None]
    return {
        **{warning["code"]: 1.0 for warning in content["warnings"]},
        "p_best": max((r["p_best"] for r in ranked), default=None),
        "loss": min((p["mean"] for p in there), default=None),
        "width": max(((p["new_high"] - p["new_low"]) / p["mean"] for p in there if p["new_low"]), default=None),
        "backtest_error": _mean([abs(p["observed"] - p["mean"]) / p["observed"] for p in seen]),
        "coverage": _mean([float(one) for one in inside]),
        "n_warnings": float(len(content["warnings"])),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _read(text: str) -> tuple[str, Callable[[float, float], bool] | None, float]:
    found = _CONDITION.fullmatch(text)
    limit = None
    if found:
        try:
            limit = float(found[3]) if found[3] else 0.0
        except ValueError:
            found = None
    if found is None or limit is None:
        raise UsageError(f"--fail-if {text!r}: write NAME < NUMBER (or <=, >, >=, ==, !=), as 'p_best < 0.9'")
    return found[1], _OPERATORS[found[2]] if found[2] else None, limit
