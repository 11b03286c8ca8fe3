"""What a metric's name says, wherever it was logged: a loss and of which data, or a count of tokens."""

from __future__ import annotations

import re
from collections.abc import Collection

_LOSS = r"(?:lm[ _-])?(?:nll_loss|loss|cross_?entropy(?:_?loss)?|ce_loss|nll)"
_HELD = r"eval|evaluation|val|valid|validation|test|dev|heldout"
_HELD_OUT = re.compile(
    rf"^(?P<kind>{_HELD})[/_.-](?:(?P<set>(?!lm[ _-]).+)[/_.-])?{_LOSS}(?:_epoch)?(?:/dataloader_idx_(?P<loader>\d+))?$"
    rf"|^{_LOSS}[/_. -](?P<last>{_HELD})$",
    re.IGNORECASE,
)
_STEPS = re.compile(
    rf"^(?:(?:train|training|batch)[/_.-])?{_LOSS}(?:_step)?$|^{_LOSS}[/_. -](?:train|training|batch)$", re.IGNORECASE
)
_EPOCH = re.compile(rf"^(?:train|training)[/_.-]{_LOSS}_epoch$|^epoch_loss$", re.IGNORECASE)
_NO_SET = re.compile(
    r"(^|[/_.-])(aux|router|z|kl|reg|balance|balancing|reward|best|min|step|value|policy)$", re.IGNORECASE
)
"""What stands before "loss" in the name of something else than the loss of a data set."""
_TOKENS = re.compile(
    r"^(?:(?:train|training|eval)[/_.])?(?:num_input_tokens_seen|n_tokens|num_tokens|tokens|tokens_seen|consumed_tokens"
    r"|total_tokens)$"
)


def held_out(name: str) -> str | None:
    """The split of a metric that is called as a loss on held-out data; None for any other.

    >>> [held_out(name) for name in ("eval/loss", "eval_code_loss", "eval/lm loss", "eval/aux_loss", "loss")]
    ['test', 'test-code', 'test', None, None]
    """
    found = _HELD_OUT.match(_plain(name))
    if not found or (found["set"] and _NO_SET.search(found["set"])):
        return None
    part = found["set"] or (f"dataloader_idx_{found['loader']}" if found["loader"] else None)
    return f"test-{part}" if part else "test"


def held_out_beside(name: str, taken: Collection[str]) -> str | None:
    """The same where other names have splits already: `val_loss` beside `test_loss` is of another set.

    Args:
        name: the metric.
        taken: a collection of the splits that other metrics of the run have.
    """
    split = held_out(name)
    if split == "test" and split in taken:
        return f"test-{re.split('[/_. -]', name)[0].lower()}"
    return split


def is_of_steps(name: str) -> bool:
    """Whether a metric is called as the loss of training steps."""
    return _STEPS.match(_plain(name)) is not None


def is_of_epochs(name: str) -> bool:
    """Whether a training loss is called as the mean over an epoch."""
    return _EPOCH.match(_plain(name)) is not None


def counts_tokens(name: str) -> bool:
    """Whether a metric is called as the count of tokens seen."""
    return _TOKENS.match(name) is not None


def _plain(name: str) -> str:
    """A name as programs write it: headers of tables have spaces."""
    return re.sub(r"\s+", "_", name.strip())
