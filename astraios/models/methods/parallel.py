"""Parallel adapter (He et al., 2021, arXiv:2110.04366): beside a module, on the same input."""

from __future__ import annotations

from astraios.models.methods._adapter import PAPER, BottleneckMethod

METHOD = BottleneckMethod(
    name="parallel",
    title="Parallel",
    kind="adapter",
    citation="He et al., 2021, arXiv:2110.04366",
    # c_attn, as table 1's counts and the paper's code have it; appendix D prints c_fc and mlp.c_proj.
    roles=("attention_in",),
    parallel=True,
    settings=PAPER,
)
