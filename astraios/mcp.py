"""A server of the Model Context Protocol: an assistant reads the database and asks for projections, and writes nothing.

It speaks over standard input and output, to the program that started it and to nobody else.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store, workflow
from astraios.errors import AstraiosError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from mcp.server import MCPServer

LONGEST = 1000
"""Most rows that an answer holds."""
_ABOUT = (
    "Results of training language models at several sizes, and projections from them to larger ones. Begin with "
    "`studies`: only runs of one study may be compared. `tables` says what there is to query. Losses are in nats a "
    "token, scores are fractions, intervals are those of a new run unless they say mean. Give every warning of `fit` "
    "on to the user: they say what the numbers rest on."
)
_TABLES = """\
select table_name as name, comment as holds from duckdb_tables() where schema_name = 'main'
union all select view_name, comment from duckdb_views() where not internal and schema_name = 'main'
order by name"""
_COLUMNS = """\
select column_name as name, data_type as type, comment as holds from duckdb_columns()
where schema_name = 'main' and table_name = ? order by column_index"""


def server(db: Path) -> MCPServer:
    """The server of one database.

    Args:
        db: the database; it is opened for each answer, so that others can write meanwhile.

    Raises:
        MissingExtraError: the protocol's package is not installed.
    """
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp.types import ToolAnnotations
    except ImportError:
        raise MissingExtraError("mcp", "mcp", "the server of the Model Context Protocol") from None

    def told(tool: Callable[..., Any]) -> Callable[..., Any]:
        """The same, with our errors as the one line that they are."""

        @functools.wraps(tool)
        def answer(*args: Any, **kwargs: Any) -> Any:
            try:
                return tool(*args, **kwargs)
            except AstraiosError as error:
                raise ToolError(" ".join(str(error).split())) from None

        return answer

    found = MCPServer("astraios", instructions=_ABOUT, log_level="ERROR")
    for tool in _Tools(db).all():
        found.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))(told(tool))
    return found


def serve(db: Path) -> None:
    """Answers on standard input and output until the other side is gone.

    Raises:
        StoreError: no such database; said at once and not with the first answer.
    """
    store.query(db, "select 1")
    server(db).run("stdio")


class _Tools:
    """What can be asked for; the protocol takes names, arguments and docstrings from here."""

    def __init__(self, db: Path) -> None:
        self.db = db

    def all(self) -> Sequence[Any]:
        return (self.studies, self.tables, self.sql, self.fit, self.show)

    def studies(self) -> list[dict[str, Any]]:
        """Studies of the database: which runs may be compared, along which axes, and whether a fit is there."""
        return _plain(workflow.studies(self.db))

    def tables(self, name: str | None = None) -> list[dict[str, Any]]:
        """Tables and views with what they hold; with a name, its columns with types, units and meanings."""
        rows = store.query(self.db, _COLUMNS, [name]) if name else store.query(self.db, _TABLES)
        if name and rows.is_empty():
            raise UsageError(f"no table or view {name!r}: ask for tables without a name")
        return _rows(rows)

    def sql(self, query: str, limit: int = 200) -> dict[str, Any]:
        """Rows of a query in DuckDB's SQL, read-only; other files can't be reached. Says when rows were left off."""
        limit = min(max(1, limit), LONGEST)
        rows = store.query(self.db, query)
        left = {"left_off": rows.height - limit} if rows.height > limit else {}
        return {"rows": _rows(rows.head(limit)), **left}

    def fit(
        self,
        target: list[str] | None = None,
        study: str | None = None,
        split: str = "test",
        target_tokens: str | None = None,
        where: list[str] | None = None,
        by: list[str] | None = None,
        level: float = 0.9,
    ) -> dict[str, Any]:
        """Projects the final loss of each series of a study to larger sizes and predicts scores; nothing is recorded.

        Args:
            target: sizes to project to, as "16B"; by default the next rung of the ladder.
            study: name of the study; needed where there are several.
            split: split of the loss.
            target_tokens: tokens of the targets, as "140B", where data vary too.
            where: facts to hold, as "rank=8".
            by: facts to compare beside the tuning method.
            level: nominal coverage of the intervals.
        """
        request = workflow.FitRequest.of_options(
            study=study, split=split, targets=tuple(target or ()), target_tokens=target_tokens,
            where=where or (), by=by or (), level=level,
        )  # fmt: skip
        return dict(_plain(workflow.preview(self.db, request)))

    def show(self, run: str) -> dict[str, Any]:
        """All of one run (the beginning of its run_id, or MODEL:METHOD): what was asked, what happened, its results."""
        return dict(_plain(workflow.show(self.db, run)))


def _rows(frame: Any) -> list[dict[str, Any]]:
    return list(json.loads(frame.write_json()))


def _plain(content: Any) -> Any:
    """As JSON types: times and paths as text, what is no finite number as null."""
    return json.loads(json.dumps(content, default=str), parse_constant=lambda name: None)
