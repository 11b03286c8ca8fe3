"""Targets are points: a size, and an amount of data wherever runs say what theirs was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.errors import FitError, UsageError
from astraios.fit.curve import Array
from astraios.fit.notes import FitWarning
from astraios.fit.observations import Ladder

FLOPS_PER_TOKEN = 6.0
"""Training FLOPs per parameter and token (Kaplan et al., 2020, arXiv:2001.08361)."""
SAME = 0.02
"""Amounts of data that differ by no more than this share are one amount."""
FAR = 100.0


@dataclass(frozen=True)
class DataRule:
    """How much data a target is meant to have (--target-tokens, --tokens-per-param, --target-flops); at most one."""

    tokens: float | None = None
    tokens_per_param: float | None = None
    flops: float | None = None

    def __post_init__(self) -> None:
        said = {
            "--target-tokens": self.tokens, "--tokens-per-param": self.tokens_per_param, "--target-flops": self.flops,
        }  # fmt: skip
        given = [name for name, value in said.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} say the same thing in two ways: give one of them")
        for name in given:
            value = said[name]
            if value is None or not np.isfinite(value) or value <= 0:
                raise UsageError(f"{name} {value}: must be a positive number")

    def at(self, size: float) -> float | None:
        """Tokens at a size, or None where nothing was said."""
        if self.tokens is not None:
            return self.tokens
        if self.tokens_per_param is not None:
            return self.tokens_per_param * size
        return None if self.flops is None else self.flops / (FLOPS_PER_TOKEN * size)


@dataclass(frozen=True)
class Target:
    """One point that is projected to."""

    n_params: float
    n_tokens: float | None


@dataclass(frozen=True)
class Tokens:
    """What the runs of a ladder say about amounts of data."""

    kind: str
    """free (an input of the law), proportional (so many tokens a parameter), constant, unequal (it varies in a way that
    no law can use), unknown."""
    value: float | None
    """Tokens at the largest size (free, unequal: the most there), tokens a parameter, or the constant."""

    @classmethod
    def of(cls, ladder: Ladder, *, free: bool) -> Tokens:
        """From a ladder whose series have n_tokens where it is known.

        Args:
            ladder: the runs.
            free: whether the laws take the amount of data as an input.
        """
        known = ladder.has("n_tokens")
        return cls.of_columns(ladder.column("n_params"), ladder.column("n_tokens") if known else None, free=free)

    @classmethod
    def of_columns(cls, size: Array, data: Array | None, *, free: bool) -> Tokens:
        """The same from log sizes and log tokens of runs, (runs,) both; None where they do not say their data."""
        if data is None:
            return cls("unknown", None)
        if np.ptp(data) < SAME:
            return cls("constant", _whole(float(np.mean(data))))
        largest = _whole(data[size > size.max() - 1e-9].max())
        if free:
            return cls("free", largest)
        ratio = data - size
        if np.ptp(ratio) < SAME:
            return cls("proportional", float(np.exp(np.mean(ratio))))
        return cls("unequal", largest)

    def at(self, size: float) -> float | None:
        """Tokens that a size has where nothing was said."""
        return self.value * size if self.kind == "proportional" and self.value is not None else self.value

    @property
    def text(self) -> str | None:
        """The rule in words."""
        if self.value is None:
            return None
        amount = number(self.value)
        return {
            "free": f"at {amount} tokens, the most that the largest size was trained on",
            "unequal": f"at {amount} tokens, the most that the largest size was trained on",
            "proportional": f"at {self.value:.3g} tokens a parameter, as in the runs",
            "constant": f"at {amount} tokens, as in the runs",
        }[self.kind]


def _whole(log_value: float) -> float:
    """A count from its logarithm."""
    value = float(np.exp(log_value))
    return float(round(value)) if value > 100 else value


def targets(sizes: Sequence[float], rule: DataRule, tokens: Tokens) -> tuple[list[Target], str | None]:
    """Points to project to, and the rule that gave their amount of data, in words.

    Args:
        sizes: parameters.
        rule: what the user said about data.
        tokens: what the runs say.

    Raises:
        FitError: the runs can't tell what another amount of data would do.
    """
    asked = [rule.at(size) for size in sizes]
    if asked[0] is None:
        return [Target(size, tokens.at(size)) for size in sizes], tokens.text
    for size, amount in zip(sizes, asked, strict=True):
        known = tokens.at(size)
        if amount is not None and tokens.kind != "free" and (known is None or abs(np.log(amount / known)) > SAME):
            raise FitError(_off(tokens, size, amount))
    said = (
        f"at {number(rule.tokens)} tokens" if rule.tokens is not None
        else f"at {rule.tokens_per_param:.4g} tokens a parameter" if rule.tokens_per_param is not None
        else f"at {rule.flops:.3g} FLOPs"
    )  # fmt: skip
    return [Target(size, amount) for size, amount in zip(sizes, asked, strict=True)], said


def _off(tokens: Tokens, size: float, amount: float) -> str:
    asked = f"{number(amount)} tokens at {number(size)} parameters"
    if tokens.kind == "unknown":
        return f"{asked} were asked for, but the runs do not say how many tokens they were trained on: leave tokens out"
    if tokens.kind == "proportional":
        return (
            f"{asked} were asked for, but size and data vary together ({tokens.value:.3g} tokens a parameter in every "
            f"run), so that their effects can't be told apart: use --tokens-per-param {tokens.value:.3g}, or add runs "
            "with other amounts of data"
        )
    if tokens.kind == "constant":
        return (
            f"{asked} were asked for, but every run was trained on {number(float(tokens.value or 0))}: what more or "
            "fewer would do can't be told; add runs with other amounts of data"
        )
    return (
        f"{asked} were asked for, but fewer than three amounts of data, or amounts that go with the size, do not tell "
        "what data do: leave tokens out, or add runs"
    )


def of_targets(ladder: Ladder, points: Sequence[Target]) -> list[FitWarning]:
    """`far_extrapolation` in any input, and series that never saw as much data as is asked about."""
    found = []
    largest = float(np.exp(ladder.column("n_params").max()))
    for size in dict.fromkeys(point.n_params for point in points):
        if size > FAR * largest:
            times = f"{size / largest:.0f} times the largest size seen ({largest:.4g})"
            found.append(FitWarning("far_extrapolation", f"{size:.4g} parameters are {times}"))
    if not ladder.has("n_tokens"):
        return found
    most = {s.name: float(np.exp(s.inputs["n_tokens"].max())) for s in ladder.series}
    for amount in dict.fromkeys(float(point.n_tokens) for point in points if point.n_tokens is not None):
        top = max(most.values())
        if amount > FAR * top:
            times = f"{amount / top:.0f} times the most that any run saw ({top:.4g})"
            found.append(FitWarning("far_extrapolation", f"{amount:.4g} tokens are {times}"))
        for name, seen in most.items():
            if amount > seen * (1 + SAME):
                found.append(
                    FitWarning(
                        "less_data",
                        f"{name}: no run of it was trained on more than {number(seen)} tokens; the projection at "
                        f"{number(amount)} goes beyond",
                        name,
                    )
                )
    return found


def number(value: float | None) -> str:
    """A count as people write it: 30.0B, 1.64M."""
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value is not None and abs(value) >= 0.9995 * unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.4g}"
