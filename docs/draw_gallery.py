"""Draws docs/gallery.md anew: `make gallery`, after `make demo`.

python docs/draw_gallery.py astraios.duckdb
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from astraios import store, workflow
from astraios.report.gallery import write_gallery


def main(tiny: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paper = Path(folder) / "paper.duckdb"
        workflow.import_results(paper, "paper", workflow.ImportRequest())
        write_gallery(
            {
                "the tiny sweep": lambda sql: store.query(tiny, sql),
                "the paper's published numbers": lambda sql: store.query(paper, sql),
            },
            Path(__file__).resolve().parent,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
