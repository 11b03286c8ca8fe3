"""A stand-in for the Hugging Face hub: repositories with commits, and names that can be moved from one to another."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """What the server has; `refs` may change while it runs."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        """Of each repository ("models/org/name"): files by commit."""
        self.refs: dict[str, dict[str, str]] = {}
        self.endpoint = ""
        self.asked: list[str] = []

    def push(self, repository: str, files: Mapping[str, bytes], *names: str) -> str:
        """A commit, to which the names point from now on."""
        text = json.dumps({name: hashlib.sha1(data).hexdigest() for name, data in files.items()})
        sha = hashlib.sha1((repository + text).encode()).hexdigest()
        self.commits.setdefault(repository, {})[sha] = dict(files)
        self.refs.setdefault(repository, {}).update(dict.fromkeys(names, sha))
        return sha

    def find(self, repository: str, revision: str) -> str | None:
        """The commit that a name stands for."""
        sha = self.refs.get(repository, {}).get(revision, revision)
        return sha if sha in self.commits.get(repository, {}) else None


def _answer(hub: Hub, path: str) -> tuple[int, dict[str, str], bytes]:
    parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
    if parts[0] == "api":
        repository = "/".join(parts[1:4])
        what, revision = (parts[4], parts[5]) if len(parts) > 5 else ("revision", "main")
        sha = hub.find(repository, revision)
        if repository not in hub.commits or sha is None:
            code = "RevisionNotFound" if repository in hub.commits else "RepoNotFound"
            return 404, {"X-Error-Code": code}, b""
        names = sorted(hub.commits[repository][sha])
        if what == "tree":
            rows: Any = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
        else:
            rows = {"id": "/".join(parts[2:4]), "sha": sha, "siblings": [{"rfilename": name} for name in names]}
        return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()
    if parts[0] == "datasets":
        repository, rest = "/".join(parts[:3]), parts[3:]
    else:
        repository, rest = "/".join(["models", *parts[:2]]), parts[2:]
    sha = hub.find(repository, rest[1]) if len(rest) > 2 else None
    data = hub.commits.get(repository, {}).get(sha or "", {}).get("/".join(rest[2:]))
    if data is None:
        return 404, {"X-Error-Code": "EntryNotFound" if sha else "RevisionNotFound", "X-Repo-Commit": sha or ""}, b""
    return 200, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": str(sha)}, data


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that listens on this machine."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(self.path)
            code, headers, body = _answer(hub, self.path)
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
