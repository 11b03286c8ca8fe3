"""Every command that the README and the guide name is one: verb, arguments and options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from astraios.cli import app
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    lines = [
        line
        for language, block in BLOCK.findall(page.read_text(encoding="utf-8"))
        if language in ("", "sh", "bash", "console")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    plain = [re.sub(r"^\$ |^\s*(?:\.venv/bin/)?(?=astraios)", "", line) for line in lines]
    return [line for line in plain if line.startswith("astraios ")]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_commands_are_commands(page: Path) -> None:
    root = typer.main.get_command(app)
    for line in commands(page):
        words = shlex.split(line, comments=True)[1:]
        words = words[: next((i for i, word in enumerate(words) if word in ("|", ">", "<", "&&", "&", ";")), None)]
        command, path = root, "astraios"
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            path = f"{path} {words[0]}"
            assert words[0] in command.commands, f"{page.name}: {line}: no verb {path}"
            command, words = command.commands[words[0]], words[1:]
        if words and words[0] in ("--install-completion", "--help", "-h", "--version"):
            continue
        command.make_context(path, words)  # Parses all, runs nothing; a wrong option or argument raises.
