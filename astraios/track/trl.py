"""What TRL's trainers log: rewards are scores along training, and the objectives of RL and preferences are no losses
of tokens. Nothing of TRL is imported: a callback is given its arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from astraios.track.names import number

LIKELIHOOD = ("SFTConfig",)
"""Arguments of the trainers whose loss is a cross-entropy of tokens."""
_REWARD = re.compile(r"^(?P<eval>eval_)?(?P<task>reward|rewards/[^/]+)(?:/mean)?$")


def has_objective(args: Any) -> bool:
    """Whether arguments are those of a TRL trainer whose loss is another objective: GRPO, DPO, KTO, ..."""
    classes = [kind for kind in type(args).__mro__ if kind.__module__.split(".")[0] == "trl"]
    return bool(classes) and not any(kind.__name__ in LIKELIHOOD for kind in classes)


def is_trl(args: Any) -> bool:
    """Whether arguments are those of a TRL trainer."""
    return any(kind.__module__.split(".")[0] == "trl" for kind in type(args).__mro__)


def rewards(logs: Mapping[str, Any]) -> list[tuple[str, str, str, float]]:
    """Logged name, task, metric and value of each reward in what was logged.

    >>> rewards({"reward": 0.5, "rewards/short/mean": 0.25, "eval_reward": 0.4, "kl": 0.1})
    [('reward', 'reward', 'mean', 0.5), ('rewards/short/mean', 'rewards/short', 'mean', 0.25), ('eval_reward', 'reward', 'eval_mean', 0.4)]
    """  # noqa: E501
    found = []
    for name, value in logs.items():
        match, told = _REWARD.match(name), number(value)
        if match and told is not None:
            found.append((name, match["task"], "eval_mean" if match["eval"] else "mean", told))
    return found
