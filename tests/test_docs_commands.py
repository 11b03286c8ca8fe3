"""Every command that the README and the guide name is one: verb, arguments and options; the README's Python runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import polars as pl
import pytest
import typer

from astraios.cli import app
from tests.conftest import REPOSITORY, run_cli

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


def test_the_readme_names_commands() -> None:
    assert len(commands(REPOSITORY / "README.md")) > 10


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame(
        [
            {
                "method": method,
                "model": f"m{i}",
                "n_params": n,
                "loss": 1.7 + floor + 90 * n**-0.3,
                "run_id": f"{method}{i}",
            }
            for method, floor in (("lora", 0.0), ("fft", 0.2))
            for i, n in enumerate((1e7, 3e7, 1e8, 3e8, 1e9))
        ]
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASTRAIOS_DB", raising=False)
    frame.rename({"loss": "test_loss"}).write_csv("runs.csv")
    assert run_cli("import", "runs.csv").returncode == 0
    [code] = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    names = {"frame": frame}
    exec(code, names)
    assert names["result"].predict(n_params=[16e9]).height == 2  # type: ignore[attr-defined]
