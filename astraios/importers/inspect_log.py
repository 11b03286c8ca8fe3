"""inspect_ai: logs of evaluations, .eval (a zip) or .json, or a folder of them.

Each scorer's metric becomes a score named SCORER.METRIC (METRIC alone for the first scorer), its `stderr` the standard
error beside it. The newest log of a task counts for a run, which is a model; --set run_id=RUN hangs it on a run that is
there. Samples keep the first scorer's value.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._files import head, parse_json, read_bytes, read_object
from astraios.importers._models import UNTUNED, base_model, known_model
from astraios.importers._runs import Found, Skipped, imported, task_row
from astraios.records import EvaluationRow, SampleScore, Score, TaskRow

_ZSTANDARD = 93
"""Method of compression that inspect_ai writes and Python's zipfile reads from 3.14 on."""
_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""What inspect_ai's grades count: correct, partial, incorrect, no answer."""


@dataclass(frozen=True)
class InspectLog(Importer):
    """One log, or a folder of logs."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_logs(path)) if path.is_dir() else _looks_right(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped()
        logs = [(log, *_read(log)) for log in (_logs(path) if path.is_dir() else [path])]
        runs: dict[str, Found] = {}
        tasks: dict[str, TaskRow] = {}
        for file, header, samples in sorted(logs, key=lambda one: (str(one[1]["eval"].get("created")), one[0].name)):
            if header.get("status") != "success":
                skipped.add(file.name, f"the evaluation ended with status {header.get('status')}")
                continue
            fresh = _found(header)
            run = runs.setdefault(repr(fresh.identity), fresh)
            task = str(header["eval"]["task"])
            if any(row.task_id == task for row in run.evaluations):
                skipped.add(f"task {task}", f"logs before {file.name}")
                lists: tuple[list[Any], ...] = (run.evaluations, run.scores, run.samples)
                for rows in lists:
                    rows[:] = [row for row in rows if row.task_id != task]
            tasks[task] = _add(run, task, file, header, samples, skipped)
        return imported(self.name, runs.values(), wanted, skipped, tasks, adds=True)


inspect_log = InspectLog(name="inspect", title="inspect_ai log", priority=4)


def _logs(folder: Path) -> list[Path]:
    return [
        path for path in sorted(folder.rglob("*")) if path.suffix in (".eval", ".json", ".gz") and _looks_right(path)
    ]


def _looks_right(path: Path) -> bool:
    start = head(path, 4096)
    if path.suffix == ".eval":
        return start[:4] == b"PK\3\4"
    return start.lstrip()[:1] == b"{" and b'"eval"' in start and b'"status"' in start and b'"version"' in start


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and samples of a log.

    Raises:
        DataError: it is not whole.
    """
    if path.suffix != ".eval":
        header = read_object(path)
        samples = header.pop("samples", None) or []
    else:
        parts = _unzipped(path)
        if "header.json" not in parts:
            raise DataError(f"{path}: the log has no header.json: the evaluation did not end")
        header = parse_json(parts["header.json"], f"{path}: header.json")
        names = sorted(name for name in parts if name.startswith("samples/"))
        samples = [parse_json(parts[name], f"{path}: {name}") for name in names]
    about = header.get("eval") if isinstance(header, dict) else None
    if not isinstance(about, Mapping) or not about.get("task") or not about.get("model"):
        raise DataError(f"{path}: not a log of inspect_ai (eval names no task and model)")
    return header, samples


def _unzipped(path: Path) -> dict[str, str]:
    data = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {info.filename: _member(path, data, archive, info) for info in archive.infolist()}
    except (zipfile.BadZipFile, struct.error) as error:
        raise DataError(f"{path}: not a whole .eval file ({error})") from None
    return parts


def _member(path: Path, data: bytes, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    where = f"{path}: byte {info.header_offset}, {info.filename}"
    try:
        content = _inflated(data, info) if info.compress_type == _ZSTANDARD else archive.read(info)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise DataError(f"{where}: damaged ({error})") from None
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise DataError(f"{where}: the checksum is wrong")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text ({error.reason})") from None


def _inflated(data: bytes, info: zipfile.ZipInfo) -> bytes:
    """A member compressed by Zstandard; its local header says where its bytes begin."""
    import pyarrow as pa

    name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
    start = info.header_offset + 30 + name + extra
    packed = pa.BufferReader(data[start : start + info.compress_size])
    with pa.CompressedInputStream(packed, "zstd") as stream:
        return stream.read()


def _found(header: Mapping[str, Any]) -> Found:
    about = header["eval"]
    name = str(about["model"])
    arguments = about.get("model_args") or {}
    local = str(arguments.get("model_path") or "")
    plain = name.partition("/")[2] if "/" in name else name
    facts = known_model(plain) or base_model(local or None) or {"model_id": plain}
    return Found(
        label=name,
        identity=[name, local, arguments.get("revision")],
        facts={**facts, "method_id": UNTUNED},
        settings={"model": name, "model_args": arguments, "packages": about.get("packages")},
    )


def _add(
    run: Found, task: str, file: Path, header: Mapping[str, Any], samples: list[dict[str, Any]], skipped: Skipped
) -> TaskRow:
    """Puts a log's evaluation, scores and samples into its run; the row of its task."""
    about, results = header["eval"], header.get("results") or {}
    mark: dict[str, Any] = {"task_id": task, "n_shot": 0}
    scorers = results.get("scores") or []
    scores = [row for place, scorer in enumerate(scorers) for row in _scores(scorer, place == 0, mark)]
    if not scores:
        raise DataError(f"{file}: results hold no score")
    config = about.get("config") or {}
    run.evaluations.append(
        EvaluationRow(
            **mark,
            n_items=results.get("total_samples"),
            settings={
                "source": file.name, "created": about.get("created"), "task_version": about.get("task_version"),
                "dataset": (about.get("dataset") or {}).get("name"), "epochs": config.get("epochs"),
                "limit": config.get("limit"), "revision": (about.get("revision") or {}).get("commit"),
            },
        )
    )  # fmt: skip
    run.scores += scores
    first = scorers[0].get("scorer") or scorers[0].get("name")
    run.samples += _samples(samples, str(first), mark, f"{file}", skipped)
    return task_row(task, scores[0].metric)


def _scores(scorer: Mapping[str, Any], first: bool, mark: Mapping[str, Any]) -> Iterator[Score]:
    metrics = scorer.get("metrics") or {}
    reducer = scorer.get("reducer")
    prefix = "" if first else f"{scorer.get('name')}."
    stderr = (metrics.get("stderr") or {}).get("value")
    for name, metric in metrics.items():
        value = metric.get("value")
        if name == "stderr" or not isinstance(value, int | float):
            continue
        # The standard error that stands beside the metrics is that of the mean.
        error = stderr if name in ("accuracy", "mean") and isinstance(stderr, int | float) else None
        yield Score.told(
            **mark,
            metric=f"{prefix}{name}" + (f".{reducer}" if reducer not in (None, "mean") else ""),
            value=float(value),
            stderr=error,
            ci_low=None if error is None else value - 1.959964 * error,
            ci_high=None if error is None else value + 1.959964 * error,
            n=scorer.get("scored_samples"),
            n_failed=scorer.get("unscored_samples"),
        )


def _samples(
    samples: list[dict[str, Any]], scorer: str, mark: Mapping[str, Any], where: str, skipped: Skipped
) -> list[SampleScore]:
    rows: dict[tuple[str, int], SampleScore] = {}
    lost = 0
    for sample in samples:
        if not isinstance(sample, Mapping) or "id" not in sample:
            raise DataError(f"{where}: a sample without an id")
        scores = sample.get("scores") or {}
        score = scores.get(scorer) if scorer in scores else next(iter(scores.values()), None)
        value = _grade((score or {}).get("value"))
        if value is None:
            lost += 1
            continue
        number = int(sample.get("epoch") or 1) - 1
        item = str(sample["id"])
        verdict = {1.0: "passed", 0.0: "failed"}.get(value, "scored")
        rows[item, number] = SampleScore(**mark, item_id=item, sample=number, value=value, verdict=verdict)
    if lost:
        skipped.add(f"{Path(where).name}, samples without a number as their score", f"{lost:,}")
    return list(rows.values())


def _grade(value: Any) -> float | None:
    """A score as a number: inspect_ai's letters, truth values, numbers, yes and no; else None."""
    if isinstance(value, str):
        if value in _LETTERS:
            return _LETTERS[value]
        try:
            return float(json.loads(value))
        except (ValueError, TypeError):
            return {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}.get(value.lower())
    return float(value) if isinstance(value, bool | int | float) else None
