"""The verb that answers an assistant."""

from __future__ import annotations

from astraios.cli.app import Db, app, example


@app.command(epilog=example("astraios mcp --db astraios.duckdb"))
def mcp(db: Db = None) -> None:
    """Answer an assistant over the Model Context Protocol, read-only; the assistant's program starts it."""
    from astraios import store
    from astraios.mcp import serve

    serve(store.database_path(db))
