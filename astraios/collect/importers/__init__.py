"""Importers: results of other tools, and of papers, as rows of astraios's tables."""
