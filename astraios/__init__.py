"""astraios: scaling analysis for tuned language models, with a results database."""

__version__ = "0.1.0"
