"""AdapterP (Pfeiffer et al., 2020, arXiv:2005.00052): after the feed-forward part."""

from __future__ import annotations

from astraios.models.methods._adapter import PAPER, BottleneckMethod

METHOD = BottleneckMethod(
    name="adapterp",
    title="AdapterP",
    kind="adapter",
    citation="Pfeiffer et al., 2020, arXiv:2005.00052",
    roles=("mlp_out",),
    pfeiffer=True,
    settings=PAPER,
)
