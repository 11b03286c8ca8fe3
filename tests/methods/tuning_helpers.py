"""A training loop in five lines, the same for all tests of methods."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from astraios.models.ladders import resolve
from astraios.models.methods import METHODS, TuningMethod

STEPS = 20


def base(directory: Path, **how):
    """The base model of a directory."""
    ladder, rung = resolve(str(directory))
    return ladder.load(rung.model_id, **how)[0]


def tokens(seed: int = 1) -> torch.Tensor:
    """A batch of 2 x 24 tokens."""
    return torch.randint(0, 64, (2, 24), generator=torch.Generator().manual_seed(seed))


def attached(directory: Path, name: str, overrides: dict | None = None, **how) -> tuple[TuningMethod, nn.Module, dict]:
    """(method, model ready to be tuned, settings)."""
    method = METHODS.get(name)
    settings = method.with_defaults(overrides or {})
    torch.manual_seed(1)
    return method, method.attach(base(directory, **how), settings, STEPS), settings


def optimizer(model: nn.Module, lr: float = 1e-2) -> torch.optim.AdamW:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.05)


def train(
    method: TuningMethod, model: nn.Module, settings: dict, opt: torch.optim.Optimizer, steps: range
) -> list[float]:
    """Cross-entropy before each of the steps, which are numbered as `after_step` wants them."""
    losses, virtual = [], method.n_virtual_tokens(settings)
    model.train()
    for step in steps:
        x = tokens(step)
        logits = model(input_ids=x).logits[:, virtual:].float()
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), x[:, 1:].flatten())
        extra = method.regularizer(model)
        (loss if extra is None else loss + extra).backward()
        opt.step()
        method.after_step(model, step)
        opt.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    return model.eval()(input_ids=tokens()).logits.float()
