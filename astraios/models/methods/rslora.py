"""rsLoRA (Kalajdzievski, 2023, arXiv:2312.03732): LoRA scaled by alpha / sqrt(r), which stays stable at large ranks."""

from __future__ import annotations

from astraios.models.methods.lora import PAPER, Lora

METHOD = Lora(
    name="rslora",
    title="rsLoRA",
    kind="low-rank",
    citation="Kalajdzievski, 2023, arXiv:2312.03732",
    settings=PAPER,
    options=(("use_rslora", True),),
)
