"""DoRA (Liu et al., 2024, arXiv:2402.09353): LoRA on the direction of the weights, with a magnitude of its own."""

from __future__ import annotations

from astraios.collect.methods.lora import PAPER, Lora

METHOD = Lora(
    name="dora",
    title="DoRA",
    kind="low-rank",
    citation="Liu et al., 2024, arXiv:2402.09353",
    settings=PAPER,
    options=(("use_dora", True),),
)
