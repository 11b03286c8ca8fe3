"""Builds the documentation site in `site/`: `make docs`.

The pages are docs/*.md as they are, the notebooks with the outputs they hold, and llms.txt: the list of the pages, for
language models. Beside each page lies its Markdown, which llms.txt names.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import yaml
from nbconvert import MarkdownExporter

DOCS = Path(__file__).resolve().parent
NAVIGATION = DOCS.parent / "mkdocs.yml"
SITE = DOCS.parent / "site"


def pages() -> dict[str, dict[str, str]]:
    """The site's pages by section, then by title, as mkdocs.yml lists them."""
    found: dict[str, dict[str, str]] = {}
    for entry in yaml.safe_load(NAVIGATION.read_text(encoding="utf-8"))["nav"]:
        [(name, under)] = entry.items()
        inner = under if isinstance(under, list) else [{name: under}]
        found[name] = {title: path for one in inner for title, path in one.items()}
    return found


def about() -> dict[str, str]:
    """What each page is about, as the tables of docs/README.md say it."""
    rows = re.findall(r"^\| \[[^]]+\]\(([\w/.]+)\) \| (.*) \|$", (DOCS / "README.md").read_text("utf-8"), re.MULTILINE)
    return {path.replace(".ipynb", ".md"): words for path, words in rows}


def llms_txt() -> str:
    """The list of pages in the form of llmstxt.org: a section a kind of reader, a line a page."""
    site, said = yaml.safe_load(NAVIGATION.read_text(encoding="utf-8")), about()
    lines = [f"# {site['site_name']}", "", f"> {site['site_description']}"]
    for section, inner in pages().items():
        lines += ["", f"## {section}", ""]
        lines += [f"- [{title}]({path}): {said.get(path, 'the list of these pages')}" for title, path in inner.items()]
    return "\n".join([*lines, ""])


def to_pages(text: str) -> str:
    """Markdown whose links to notebooks lead to their pages."""
    return re.sub(r"\]\(([\w/.]+)\.ipynb\)", r"](\1.md)", text)


def write_notebook_pages(folder: Path) -> None:
    """Each notebook of a folder as a page beside it: code, text outputs, pictures."""
    exporter = MarkdownExporter()
    for path in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
            if "data" in output:
                output.data.pop("text/html", None)  # a table in text is read in both colour schemes
        text, files = exporter.from_notebook_node(notebook, {"output_files_dir": f"{path.stem}_files"})
        for name, content in files["outputs"].items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        text = re.sub(r"\n{3,}(?=    \S)", "\n\n", text)  # outputs of one cell stand close together
        heading, rest = to_pages(text).lstrip().split("\n", 1)
        download = f"To run it: [{path.name}]({path.name}) in a folder with what it reads."
        path.with_suffix(".md").write_text(f"{heading}\n\n{download}\n{rest}", encoding="utf-8")


def build(target: Path) -> str:
    """Builds the site into a folder that is not there yet; returns what the builder said.

    Raises:
        RuntimeError: the builder failed or warned.
    """
    with tempfile.TemporaryDirectory() as work:
        docs = Path(work, "docs")
        shutil.copy(NAVIGATION, work)
        shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("__pycache__"))
        for path in docs.rglob("*.md"):
            path.write_text(to_pages(path.read_text(encoding="utf-8")), encoding="utf-8")
        write_notebook_pages(docs / "notebooks")
        done = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"],
            cwd=work, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode or "No issues found" not in said:
            raise RuntimeError(said)
        site = Path(work, "site")
        (site / "llms.txt").write_text(llms_txt(), encoding="utf-8")
        for path in (path for inner in pages().values() for path in inner.values()):
            shutil.copy(docs / path, site / path)
        shutil.copytree(site, target)
    return said


if __name__ == "__main__":
    shutil.rmtree(SITE, ignore_errors=True)
    sys.stdout.write(build(SITE))
