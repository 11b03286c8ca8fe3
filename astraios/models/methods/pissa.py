"""PiSSA (Meng et al., 2024, arXiv:2404.02948): LoRA that starts from the principal singular values of W.

A and B start as W's first r singular directions and W keeps the rest, so the base's own weights change at the start
(not in training): it wants a base that isn't quantized, and takes a singular value decomposition of every module.
"""

from __future__ import annotations

from astraios.models.methods.lora import PAPER, Lora

METHOD = Lora(
    name="pissa",
    title="PiSSA",
    kind="low-rank",
    citation="Meng et al., 2024, arXiv:2404.02948",
    quantization=None,
    quantizable=False,
    # The authors take alpha = r and no dropout, so that tuning starts exactly at the base.
    settings={**PAPER, "alpha": 8, "dropout": 0.0},
    options=(("init_lora_weights", "pissa"),),
)
