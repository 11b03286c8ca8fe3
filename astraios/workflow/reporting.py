"""Reporting: the page, single figures, and the page served live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astraios import store
from astraios.errors import StoreError, UsageError, why
from astraios.files import write_atomically
from astraios.workflow.forecasting import forecast

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class ReportRequest:
    """The options of `astraios report`."""

    figure: str | None = None
    form: str | None = None
    width: str = "page"
    scheme: str = "light"
    study: str | None = None
    reducible: bool = False
    """The axis of losses above the floor that was fitted."""


def write_report(
    db: Path, output: Path | None, request: ReportRequest, tell: Callable[[str], None] = lambda line: None
) -> Path:
    """The page of a database as one self-contained file, or a single figure or table of it.

    Args:
        db: the database.
        output: the file.
        request: what is drawn, and how.
        tell: told what the fits behind a single figure or table warned of.

    Raises:
        StoreError: no database, or the file can't be written.
        UsageError: unknown figure or format.
    """
    from astraios.report.export import caveats, render_markdown, save_figure
    from astraios.report.page import render_page

    title = f"Scaling report: {db.stem}"
    opened = store.reading if request.figure is not None else store.reading_much
    with opened(db) as connection:

        def ask(sql: str) -> pl.DataFrame:
            return store.run_query(connection, sql)

        try:
            if request.figure is not None:
                output = output or Path(f"figure-{request.figure}.{request.form or 'html'}")
                output.parent.mkdir(parents=True, exist_ok=True)
                saved = save_figure(
                    request.figure,
                    ask,
                    output,
                    request.form,
                    width=request.width,
                    scheme=request.scheme,
                    study=request.study,
                    reducible=request.reducible,
                )
                for line in caveats(request.figure, ask, request.study, request.reducible):
                    tell(line)
                return saved
            if request.reducible:
                raise UsageError("--reducible is about a single figure: name it with --figure projection-loss")
            as_markdown = request.form == "markdown" or (request.form is None and str(output or "").endswith(".md"))
            if request.form not in (None, "html", "markdown"):
                raise UsageError(f"--format {request.form}: the whole report is html or markdown; or name a --figure")
            output = output or Path("report.md" if as_markdown else "report.html")
            page = (render_markdown if as_markdown else render_page)(ask, title=title, study=request.study)
            output.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(output, page.encode())
        except OSError as error:
            raise StoreError(f"{output}: can't be written ({why(error)}); choose another file with -o") from None
    return output


def serve_report(
    db: Path, host: str, port: int, allow_remote: bool, started: Callable[[str], None], out: str = "runs"
) -> None:
    """The page over HTTP, made anew as runs arrive, until Ctrl-C.

    Args:
        db: the database.
        host: address to listen on.
        port: port; 0 takes a free one.
        allow_remote: whether other machines may ask.
        started: told the page's address.
        out: folder or URL of the run directories, whose unfinished runs are forecast.

    Raises:
        StoreError: no database, or the port is taken.
        UsageError: a host beyond this machine without `allow_remote`.
    """
    from astraios.report.serve import make_server

    def ask(sql: str) -> pl.DataFrame:
        # Opened for each question, so that a writer never waits for a reader.
        return store.query(db, sql)

    @contextmanager
    def asking() -> Iterator[Callable[[str], pl.DataFrame]]:
        with store.reading_much(db) as connection:
            yield lambda sql: store.run_query(connection, sql)

    ask("select 1")
    with make_server(
        ask, host=host, port=port, title=f"Scaling report: {db.stem}", allow_remote=allow_remote,
        running=lambda: forecast(out), asking=asking,
    ) as server:  # fmt: skip
        started(server.url)
        server.serve_forever()
