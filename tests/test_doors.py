"""Doors that stay shut: scripts and terminal escapes in names, files replaced whole, slow readers of a report."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from astraios.cli.terminal import cell_text, say, visible
from astraios.errors import CellError, StoreError, UsageError
from astraios.files import exclusive, write_atomically
from astraios.report.serve import ReportServer, make_server
from astraios.train.checkpoint import Checkpoint


def test_what_a_terminal_would_act_on_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "run\x1b]0;owned\x07\x9b2J\u202egnp.exe\r\x00é\U000e0041"
    assert cell_text(hostile) == "run\\x1b]0;owned\\x07\\x9b2J\\u202egnp.exe\\x0d\\x00é\\U000e0041"
    say(hostile + "\nsecond line")
    assert capsys.readouterr().err == visible(hostile) + "\nsecond line\n"


def test_a_table_as_a_page_holds_no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    from astraios.report import export as module
    from astraios.report.layout import Grid

    script = "<script>alert(1)</script>"
    grid = Grid(corner=script, columns=[("", script)], blocks=[(script, [])], notes=[script])
    monkeypatch.setattr(module, "lay_out", lambda table, frame: grid)
    monkeypatch.setattr(module, "choose", lambda query, wanted: None)
    table = next(iter(module.TABLES))
    page = module.export(f"{table.name}", lambda sql: pl.DataFrame({"a": [1]}), "html").decode()
    assert "<script" not in page
    assert "Content-Security-Policy" in page
    assert "default-src 'none'" in page
    assert page.count("&lt;script&gt;") == 4


def test_a_port_that_is_none_is_one_line() -> None:
    with pytest.raises(UsageError, match="from 0 to 65535") as caught:
        make_server(lambda sql: None, port=99999)  # type: ignore[arg-type,return-value]
    assert "\n" not in str(caught.value)


def test_readers_who_never_finish_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(ReportServer, "seconds", 0.5)
    monkeypatch.setattr(ReportServer, "connections", 4)
    server = make_server(lambda sql: None, port=0)  # type: ignore[arg-type,return-value]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        slow = [socket.create_connection(server.server_address[:2]) for _ in range(8)]  # type: ignore[arg-type]
        begin = time.monotonic()
        for one in slow:
            one.settimeout(10)
        while time.monotonic() - begin < 0.4:
            for one in slow:
                with contextlib.suppress(OSError):
                    one.send(b"G")
            time.sleep(0.05)
        for one in slow:
            with contextlib.suppress(ConnectionError):
                assert one.recv(1000) == b""
        assert time.monotonic() - begin < 8
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 cut", b"\x80\x02]q\x00.", b"\x80\x05cos\nsystem\n."]
)
def test_a_checkpoint_that_can_not_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    assert Checkpoint(path).load() is None


def test_a_checkpoint_that_does_not_fit_is_set_aside(tmp_path: Path) -> None:
    from astraios.collect.cell.run import _fitting

    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"of another model")
    with pytest.raises(RuntimeError, match="out of memory"), _fitting(Checkpoint(path)):
        raise RuntimeError("CUDA out of memory")
    assert path.exists()
    with pytest.raises(CellError, match=r"size mismatch.*checkpoint.pt.unfit now.*same command"):  # noqa: SIM117
        with _fitting(Checkpoint(path)):
            raise RuntimeError("size mismatch for layer 1\nand many more lines")
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt.unfit"]
    assert (tmp_path / "checkpoint.pt.unfit").read_bytes() == b"of another model"


def test_only_our_own_left_overs_are_cleaned(tmp_path: Path) -> None:
    ours = [tmp_path / f".checkpoint.pt.{pid}.tmp" for pid in (1, 123456)]
    names = ".checkpoint.pt.tmp .checkpoint.pt.1.tmp.bak x.checkpoint.pt.1.tmp .checkpointXpt.1.tmp checkpoint.pt"
    others = [tmp_path / name for name in names.split()]
    for path in (*ours, *others):
        path.write_text("content")
    link = tmp_path / ".checkpoint.pt.77.tmp"
    link.symlink_to(others[0])
    Checkpoint(tmp_path / "checkpoint.pt").clean()
    assert [path.exists() for path in ours] == [False, False]
    assert all(path.exists() for path in others)
    assert link.is_symlink()


@pytest.mark.slow
def test_a_ray_that_is_started_here_asks_for_a_token() -> None:
    """A client without it, and one with a wrong one, run nothing; ours does."""
    import os
    import subprocess
    import sys

    pytest.importorskip("ray")
    code = (
        "import os, ray\n"
        "from astraios.ray_cluster import join\n"
        "join(None, 'test', cpus=1)\n"
        "print(ray.get_runtime_context().gcs_address, ray.get(ray.remote(lambda: 5).remote()), flush=True)\n"
        "input()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    ours = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)  # type: ignore[call-overload]
    assert ours.stdout is not None
    try:
        address, result = ours.stdout.readline().split()
        assert result == "5"
        theirs = (
            "import ray, sys\n"
            f"ray.init(address={address!r}, logging_level='ERROR')\n"
            "print('ran', ray.get(ray.remote(lambda: 6).remote()))\n"
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        for extra in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
            command = ["timeout", "60", sys.executable, "-c", theirs]
            done = subprocess.run(command, env={**clean, **extra}, capture_output=True, text=True)
            assert done.returncode != 0
            assert "ran 6" not in done.stdout
    finally:
        ours.communicate("\n", timeout=60)


def test_no_lock_is_taken_through_a_link(tmp_path: Path) -> None:
    """Nor made at its end, nor waited for in a pipe."""
    lock = tmp_path / "lock"
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"), exclusive(lock, wait=0, what="it"):
        pass
    assert not (tmp_path / "elsewhere").exists()
    lock.unlink()
    os.mkfifo(lock)
    begin = time.monotonic()
    with exclusive(lock, wait=0, what="it"):
        assert time.monotonic() - begin < 5


def test_a_file_that_is_replaced_stays_as_private_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_atomically(path, b"first")
    path.chmod(0o600)
    write_atomically(path, b"second")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"second", 0o600)
    planted = tmp_path / f".report.html.{os.getpid()}.tmp"
    planted.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        write_atomically(path, b"third")
    assert not (tmp_path / "precious").exists()
    assert path.read_bytes() == b"second"


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "report.html"
    path.write_text("kept")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_atomically(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "kept"
