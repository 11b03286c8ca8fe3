"""The server without a browser: what it answers, and to whom."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator

import pytest

from astraios.errors import StoreError, UsageError
from astraios.report.serve import ReportServer, make_server

from .conftest import Query


@pytest.fixture
def server(query: Query) -> Iterator[ReportServer]:
    server = make_server(query, port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(server: ReportServer, path: str, method: str = "GET", **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_the_page_and_its_state(server: ReportServer) -> None:
    status, page, headers = ask(server, "/")
    assert status == 200
    assert "What wins" in page
    assert "connect-src &#39;self&#39;" in page
    assert headers["Cache-Control"] == "no-store"
    status, state, _ = ask(server, "/state")
    assert status == 200
    assert f'const state = "{state}"' in page
    assert ask(server, "/", "HEAD")[1] == ""


@pytest.mark.parametrize("path", ["/etc/passwd", "/../astraios.duckdb", "/state/x"])
def test_there_is_nothing_else(server: ReportServer, path: str) -> None:
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_only_reads(server: ReportServer, method: str) -> None:
    assert ask(server, "/", method)[0] == 501


def test_another_host_name_is_refused(server: ReportServer) -> None:
    assert ask(server, "/", Host="evil.example:80")[0] == 403
    assert ask(server, "/", Host="localhost:80")[0] == 200


def test_other_machines_are_shut_out_unless_asked_for(query: Query) -> None:
    with pytest.raises(UsageError, match="--allow-remote"):
        make_server(query, host="0.0.0.0", port=0)
    with make_server(query, host="0.0.0.0", port=0, allow_remote=True) as server:
        assert server.open_to_all


def test_a_taken_port_is_one_line(server: ReportServer, query: Query) -> None:
    with pytest.raises(UsageError, match="take another --port"):
        make_server(query, port=server.server_address[1])


def test_a_database_that_can_not_be_read_is_one_line() -> None:
    def broken(sql: str) -> None:
        raise StoreError("the database is locked: try again")

    server = make_server(broken, port=0)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    status, text, _ = ask(server, "/")
    server.shutdown()
    server.server_close()
    assert (status, text) == (503, "the database is locked: try again\n")
