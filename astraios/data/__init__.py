"""Training data: where they come from (sources/), and how a model reads them (packing)."""
