"""AdapterH (Houlsby et al., 2019, arXiv:1902.00751), in LLM-Adapters' form: around the feed-forward part."""

from __future__ import annotations

from astraios.models.methods._adapter import PAPER, BottleneckMethod

METHOD = BottleneckMethod(
    name="adapterh",
    title="AdapterH",
    kind="adapter",
    citation="Houlsby et al., 2019, arXiv:1902.00751",
    roles=("mlp_in", "mlp_out"),
    # Appendix D: c_fc (before it) and mlp.c_proj (after it).
    settings={**PAPER, "input_modules": None},
)
