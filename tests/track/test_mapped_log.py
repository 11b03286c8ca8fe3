"""Logs that are written through a mapping: what `add` returned for is in the file, whatever ends the process."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from astraios.runs.directory import LOSSES, RunDirectory
from astraios.runs.log import Log, last_lines, read_lines
from astraios.runs.mapped_log import WINDOW, MappedLog, can_map
from astraios.runs.status import last_step

pytestmark = pytest.mark.skipif(not can_map(Path("/tmp")), reason="no file system here on which logs are mapped")


def line(number: int, length: int = 0) -> bytes:
    return json.dumps({"step": number, "fill": "x" * length}).encode() + b"\n"


def steps(path: Path) -> list[int]:
    return [entry["step"] for entry in read_lines(path.read_bytes())]


def test_lines_are_there_for_everybody_at_once(tmp_path: Path) -> None:
    log = MappedLog(tmp_path / "a.jsonl")
    for number in range(3):
        log.add(line(number))
        assert steps(log.path) == list(range(number + 1))
    assert log.path.stat().st_size % mmap.PAGESIZE == 0, "room is reserved"
    log.close()
    assert log.path.read_bytes() == b"".join(line(number) for number in range(3)), "and given back"


def test_windows_follow_each_other(tmp_path: Path) -> None:
    log = MappedLog(tmp_path / "a.jsonl")
    lengths = [WINDOW // 3, 3 * WINDOW, 10, WINDOW - 40, WINDOW, *([777] * 400)]
    for number, length in enumerate(lengths):
        log.add(line(number, length))
    assert steps(log.path) == list(range(len(lengths)))
    log.close()
    log.add(line(len(lengths)))
    assert steps(log.path) == list(range(len(lengths) + 1))
    log.close()
    assert b"\0" not in log.path.read_bytes()


@pytest.mark.promise("what log returned for outlasts a SIGKILL")
def test_a_kill_takes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from astraios.runs.mapped_log import MappedLog\n"
        "log, number = MappedLog(Path(sys.argv[1])), 0\n"
        "while True:\n"
        "    log.add(b'{\"step\": %d}\\n' % number)\n"
        "    number += 1\n"
        "    if number % 1000 == 0: print(number, flush=True)\n"
    )
    path = tmp_path / "a.jsonl"
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for said in process.stdout:
            if int(said) >= 20_000:
                break
        process.send_signal(signal.SIGKILL)
        acknowledged = max([int(said), *map(int, process.stdout.read().split())])
    found = steps(path)
    assert found == list(range(len(found)))
    assert len(found) >= acknowledged
    assert path.read_bytes().endswith(b"\0"), "the room of the process that was killed"
    assert json.loads(last_lines(path, 2048).splitlines()[-1])["step"] == found[-1]
    for number, kind in enumerate((Log, MappedLog), len(found)):
        log = kind(path)
        log.add(line(number))
        log.close()
    assert steps(path) == list(range(len(found) + 2)), "either kind of log goes on where the lines end"
    assert b"\0" not in path.read_bytes()


@pytest.mark.parametrize("kind", [Log, MappedLog])
def test_a_torn_line_stays_a_line_of_its_own(kind: type[Log], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line(0) + b'{"step": 1, "fi' + bytes(5000))
    log = kind(path)
    log.add(line(1))
    assert steps(path) == [0, 1]
    log.close()


def test_an_empty_room_is_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / LOSSES
    path.write_bytes(bytes(3 * WINDOW + 5))
    assert (last_lines(path, 100), last_step(tmp_path)) == (b"", 0)
    log = MappedLog(path)
    log.add(line(0))
    assert steps(path) == [0]
    log.close()


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MappedLog(tmp_path / "a.jsonl")

    def full(file: int, start: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        for number in range(3):
            with pytest.raises(OSError, match="No space"):
                log.add(line(number))
    log.add(line(3))
    assert steps(log.path) == [0, 1, 2, 3]
    with contextlib.suppress(ValueError):
        while True:  # Until there is no room.
            log.put(line(4))
    before = len(steps(log.path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space"):
            log.add(line(5, 200))
    log.add(line(6))
    assert steps(log.path)[before:] == [5, 6]
    log.close()


def test_a_run_directory_reads_what_it_logs(tmp_path: Path) -> None:
    mapped, plain = RunDirectory(tmp_path / "m", pause=0, mapped=True), RunDirectory(tmp_path / "p", pause=0)
    values = [2.5, 1e-9, float("nan"), float("inf"), 3.0000000000000004]
    for directory in (mapped, plain):
        directory.path.mkdir()
        for step, value in enumerate(values):
            directory.log_loss(
                'te"st', step, None if step == 1 else 10 * step, value, [None, 1e-3, float("nan")][step % 3]
            )
            directory.append_metrics(step, 10 * step, {"grad": value})
    assert repr(mapped.losses()) == repr(plain.losses())
    assert [point.loss_nats for point in mapped.losses()] == pytest.approx(values, nan_ok=True, rel=0, abs=0)
    assert repr(mapped.logged()) == repr(plain.logged())
    assert (mapped.logged().step, mapped.logged().n_tokens) == (4, 40)
    assert last_step(mapped.path) == 4
    for directory in (mapped, plain):
        directory.close()
    assert (mapped.path / LOSSES).read_bytes() == (plain.path / LOSSES).read_bytes()


def test_file_systems_that_are_not_known_are_not_mapped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from astraios.runs import mapped_log

    monkeypatch.setattr(mapped_log, "_mounts", lambda: {"/": "ext4", str(tmp_path): "nfs4"})
    mapped_log._serves.cache_clear()
    assert not can_map(tmp_path / "runs")
    assert can_map(tmp_path.parent)
    mapped_log._serves.cache_clear()
