"""QLoRA (Dettmers et al., 2023, arXiv:2305.14314): LoRA on all linear layers of a base in 4-bit NormalFloat."""

from __future__ import annotations

from astraios.models.methods.lora import PAPER, Lora

METHOD = Lora(
    name="qlora",
    title="QLoRA",
    kind="low-rank",
    citation="Dettmers et al., 2023, arXiv:2305.14314",
    quantization="nf4",
    # The authors adapt every linear layer of a block; rank and alpha as the paper's LoRA, to compare.
    settings={**PAPER, "target_modules": "all-linear"},
)
