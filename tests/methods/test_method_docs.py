"""docs/methods.md says what the program does: its tables are made from the registry and the counts."""

from __future__ import annotations

from pathlib import Path

from astraios.models.ladders import LADDERS
from astraios.models.methods import METHODS

DOC = Path(__file__).parents[2] / "docs" / "methods.md"


def settings_table(counted: dict) -> str:
    """One line a method: name, kind, source, rate, precision of the base, settings."""
    lines = ["| `name` | title | kind | source | learning rate | base | settings |", "|" + " --- |" * 7]
    for method in map(METHODS.get, counted):
        settings = ", ".join(f"`{name}` {_shown(value)}" for name, value in method.settings.items()) or "none"
        lines.append(
            f"| `{method.name}` | {method.title} | {method.kind} | {method.citation} | {method.learning_rate:g} "
            f"| {method.quantization or 'as it is'} | {settings} |"
        )
    return "\n".join(lines)


def counts_table(counted: dict) -> str:
    """Trainable parameters of every method at the four sizes of StarCoderBase."""
    names = [rung.name for rung in LADDERS.get("starcoderbase").rungs()]
    lines = ["| `name` | " + " | ".join(names) + " |", "| --- |" + " ---: |" * 4]
    for name, counts in counted.items():
        numbers = [f"{count.n_trainable:,}" for count in counts]
        lines.append(f"| `{name}` | " + " | ".join(numbers) + " |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return "default" if value is None else str(value)


def test_the_settings_are_the_programs(counted) -> None:
    assert settings_table(counted[0]) in DOC.read_text(encoding="utf-8")


def test_the_counts_are_the_programs(counted) -> None:
    assert counts_table(counted[0]) in DOC.read_text(encoding="utf-8")
