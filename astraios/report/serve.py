"""The report over HTTP while a sweep runs: the same page, read-only, reloaded when new runs have arrived.

It answers GET and HEAD of two paths, on loopback unless asked otherwise. A request that names another host is refused,
so that a web page elsewhere can't read the report through the reader's browser (DNS rebinding).
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from astraios.errors import AstraiosError, UsageError
from astraios.report.base import Query
from astraios.report.page import render_page

Asking = Callable[[], AbstractContextManager[Query]]
"""Gives what answers all questions of one page."""
Running = Callable[[], Sequence[Mapping[str, Any]]]
"""Gives the forecasts of the runs that are in training."""
DEFAULT_PORT = 8765
STATE = """\
select (select count(*) from run) as runs, (select count(*) from attempt) as attempts,
    (select max(finished_at) from attempt) as finished, (select count(*) from fit) as fits,
    (select max(created_at) from fit) as fitted, (select count(*) from score) as scores,
    (select sum(n_points) from loss_summary) as points"""

RELOAD = """
(() => {
  "use strict";
  const state = "STATE";
  const kept = sessionStorage.getItem("astraios-scroll");
  if (kept !== null) { sessionStorage.removeItem("astraios-scroll"); scrollTo(0, Number(kept)); }
  setInterval(async () => {
    try {
      const answer = await fetch("state", { cache: "no-store" });
      if (answer.ok && (await answer.text()) !== state) {
        sessionStorage.setItem("astraios-scroll", String(scrollY));
        location.reload();
      }
    } catch { /* the server is gone: the page stays as it is */ }
  }, EVERY);
})();
"""


class ReportServer(ThreadingHTTPServer):
    """Serves one report; the page is made anew only when the database has changed."""

    daemon_threads = True
    connections = 64
    """At a time; more are closed at once, so that readers who never finish can't use up threads or descriptors."""
    seconds = 30.0
    """For a whole connection, however often a little of it arrives."""

    def __init__(
        self, address: tuple[str, int], query: Query, title: str, every: float, open_to_all: bool, running: Running,
        asking: Asking,
    ) -> None:  # fmt: skip
        self.asking = asking
        self.query, self.title, self.every, self.open_to_all = query, title, every, open_to_all
        self.running = running
        self._lock = threading.Lock()
        self._page: tuple[str, bytes] = ("", b"")
        self._room = threading.BoundedSemaphore(self.connections)
        super().__init__(address, Handler)

    @property
    def url(self) -> str:
        """Where the report is."""
        host, port = self.server_address[0], self.server_address[1]
        name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

    def state(self) -> str:
        """A name for what the database holds now."""
        with self._lock:
            return self._state()

    def _state(self) -> str:
        return hashlib.sha256(repr(self.query(STATE).rows()).encode()).hexdigest()[:16]

    def page(self) -> bytes:
        """The page of what the database holds now."""
        with self._lock:
            state = self._state()
            if self._page[0] != state:
                live = RELOAD.replace("STATE", state).replace("EVERY", str(int(1000 * self.every)))
                with self.asking() as query:
                    page = render_page(query, title=self.title, live=live, running=self.running())
                self._page = (state, page.encode())
            return self._page[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for a connection, while there is room."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers one connection; it is ended when its time is over."""
        end = threading.Timer(self.seconds, _end, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _end(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """GET / is the report, GET /state the name of what it shows."""

    server: ReportServer
    server_version = "astraios"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        if not self._is_for_us():
            return self._send(
                HTTPStatus.FORBIDDEN, b"this report answers only to its own address\n", "text/plain", with_body
            )
        makers: dict[str, tuple[Callable[[], bytes], str]] = {
            "/": (self.server.page, "text/html; charset=utf-8"),
            "/state": (lambda: self.server.state().encode(), "text/plain"),
        }
        if self.path.split("?")[0] not in makers:
            return self._send(HTTPStatus.NOT_FOUND, b"there is only /\n", "text/plain", with_body)
        make, kind = makers[self.path.split("?")[0]]
        try:
            body = make()
        except AstraiosError as error:
            return self._send(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode(), "text/plain", with_body)
        return self._send(HTTPStatus.OK, body, kind, with_body)

    def _is_for_us(self) -> bool:
        """Whether the request names the address that it came to (or the server is open to all)."""
        name = (self.headers.get("Host") or "").rsplit(":", 1)[0].strip("[]").lower()
        return self.server.open_to_all or is_loopback(name)

    def _send(self, status: HTTPStatus, body: bytes, kind: str, with_body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed: a page that is open asks every few seconds."""


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def make_server(
    query: Query,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    title: str = "Scaling report",
    every: float = 5.0,
    allow_remote: bool = False,
    running: Running = tuple,
    asking: Asking | None = None,
) -> ReportServer:
    """A server that is ready to `serve_forever()`; its `url` says where.

    Args:
        query: runs SQL on the database, read only, as it is at that moment; never called from two threads at once.
        host: address to listen on.
        port: port; 0 takes a free one.
        title: heading of the page.
        every: seconds between a page's questions whether anything has changed.
        allow_remote: listen to, and answer, other machines too.
        running: gives the forecasts of the runs that are in training; asked when the page is made anew.
        asking: gives what answers the questions of one page, where that is not `query`.

    Raises:
        UsageError: an address that other machines can reach, without `allow_remote`; or a port that is taken.
    """
    if not allow_remote and not is_loopback(host):
        raise UsageError(f"{host} can be reached by other machines: say so with --allow-remote, or take 127.0.0.1")
    try:
        return ReportServer(
            (host, port), query, title, every, allow_remote, running, asking or (lambda: nullcontext(query))
        )
    except OverflowError:
        raise UsageError(f"--port {port}: a port is a number from 0 to 65535") from None
    except OSError as error:
        raise UsageError(f"can't listen on {host}:{port} ({error.strerror}): take another --port") from None


def serve(query: Query, **options: Any) -> None:
    """`make_server`, then serves until Ctrl-C."""
    with make_server(query, **options) as server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
