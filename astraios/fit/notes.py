"""Warnings as objects: a code that scripts can test and one line for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass

CODES = {
    "few_sizes": "fewer than four sizes: the shape rests on other series and on priors",
    "at_bound": "a parameter ended at its bound",
    "far_extrapolation": "the target is more than 100 times the largest size seen",
    "not_monotone": "the loss rises with size",
    "one_size_of_data": "the amount of data does not vary",
    "collinear": "size and data vary together",
    "mixed_sizes": "sizes so close that they look like one model counted in two ways",
    "few_amounts": "two amounts of data: their exponent rests on the prior",
    "small_sizes": "sizes that no model has: they may be given in billions or millions",
    "no_backtest": "too few sizes to hide the largest",
    "identical_seeds": "repeated runs agree to the last digit",
    "outliers": "runs far from the curve",
    "assumed_base_noise": "one base model a size: its luck is assumed",
    "no_base_noise": "laws with a further input assume no luck of base models",
    "assumed_quantity": "what kind of quantity the losses are was taken from their values",
    "few_starts_agree": "few starts reached the best optimum",
    "not_predictable": "the score does not go with the loss",
    "too_few_scores": "a metric with too few sizes to project",
    "near_chance": "scores at chance level",
    "chance_unknown": "nobody says what guessing scores",
    "different_losses": "methods whose losses lie in ranges apart, so that no one link holds for them",
    "less_data": "a series was never trained on as much data as is asked about",
    "unequal_data": "series saw different amounts of data at one size",
    "undertuned": "the best value of a tuned axis is at the edge of what was tried",
    "unsolved_unknown": "samples leave open how many of the problems that none solved would be solved by more",
    "other_shots": "samples of some runs were asked with more demonstrations than those of the others",
    "mixed_engines": "answers to one task that several engines generated",
    "scores_apart": "scores of runs without a loss beside losses of runs without a score",
    "rates_apart": "learning rates that no loss ranks are series of their own",
    "decayed_ends": "ends of decays of the learning rate are points",
    "left_out": "runs that lack a fact that is needed",
    "unused_columns": "columns taken for measurements",
}


@dataclass(frozen=True)
class FitWarning:
    """Something that a reader of a projection should know."""

    code: str
    message: str
    group: str | None = None

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"{self.code} is no warning code: list it in CODES")

    def to_dict(self) -> dict[str, str | None]:
        """As JSON prints it."""
        return asdict(self)
