"""inspect_ai: logs of evaluations, .eval (a zip) or .json, or a folder of them.

Each scorer's metric becomes a score named SCORER.METRIC (METRIC alone for the first scorer), its `stderr` the standard
error beside it. A task with other arguments or a limit is another evaluation; arguments that say how many
demonstrations there are make its number of shots. Of the same one the newest log counts, by its time and zone. Samples
keep the first scorer's value.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._evaluations import Evaluation, add_evaluation, interval, model_facts
from astraios.importers._files import bounded, head, parse_json, read_bytes, read_object, walk
from astraios.importers._folders import FolderFacts
from astraios.importers._models import UNTUNED, known_model
from astraios.importers._runs import Found, Skipped, imported, task_row
from astraios.importers._units import is_higher_better
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
        path, skipped = Path(source), Skipped(wanted.strict)
        logs: list[tuple[float, Path, dict[str, Any], list[dict[str, Any]]]] = []
        for log in _logs(path) if path.is_dir() else [path]:
            with skipped.item(log):
                header, samples = _read(log)
                logs.append((_time(header), log, header, samples))
        runs: dict[str, Found] = {}
        tasks: dict[str, TaskRow] = {}
        for _, file, header, samples in sorted(logs, key=lambda one: (one[0], one[1].name)):
            with skipped.item(file):
                if header.get("status") != "success":
                    raise DataError(f"{file}: the evaluation ended with status {header.get('status')}")
                fresh = _found(header, file)
                one = _evaluation(file, header, samples, skipped)
                run = runs.setdefault(repr(fresh.identity), fresh)
                tasks[one.task.task_id] = one.task
                add_evaluation(run, one, file.name, skipped)
        return imported(self.name, runs.values(), wanted, skipped, tasks, adds=True)


inspect_log = InspectLog(name="inspect", title="inspect_ai log", priority=4)


def _logs(folder: Path) -> list[Path]:
    return [path for path in walk(folder, "*.eval", "*.json", "*.json.gz") if _looks_right(path)]


def _time(header: Mapping[str, Any]) -> float:
    """When an evaluation was begun, in seconds; 0 where the log does not say."""
    try:
        time = datetime.fromisoformat(str(header["eval"].get("created")))
    except ValueError:
        return 0.0
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


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
    """The parts of a log that are read: its header and its samples."""
    data = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts, left = {}, max(64 << 20, 60 * len(data))
            for info in archive.infolist():
                content = _member(path, data, archive, info)
                left -= len(content)
                if left < 0:
                    raise DataError(f"{path}: {len(data):,} packed bytes unpack to far more: these are no results")
                if info.filename == "header.json" or info.filename.startswith("samples/"):
                    parts[info.filename] = content
    except (zipfile.BadZipFile, struct.error) as error:
        raise DataError(f"{path}: not a whole .eval file ({error})") from None
    return parts


def _member(path: Path, data: bytes, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    where = f"{path}: byte {info.header_offset}, {info.filename}"
    try:
        if info.compress_type == _ZSTANDARD:
            content = _inflated(data, info, where)
        else:
            with archive.open(info) as stream:
                content = bounded(stream.read, info.compress_size, where)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{where}: damaged ({error})") from None
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise DataError(f"{where}: the checksum is wrong")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text ({error.reason})") from None


def _inflated(data: bytes, info: zipfile.ZipInfo, where: str) -> bytes:
    """A member compressed by Zstandard; its local header says where its bytes begin."""
    import pyarrow as pa

    name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
    start = info.header_offset + 30 + name + extra
    packed = pa.BufferReader(data[start : start + info.compress_size])
    with pa.CompressedInputStream(packed, "zstd") as stream:
        return bounded(stream.read, info.compress_size, where)


def _found(header: Mapping[str, Any], file: Path) -> Found:
    about = header["eval"]
    name = str(about["model"])
    arguments = about.get("model_args") or {}
    local = str(arguments.get("model_path") or "")
    plain = name.partition("/")[2] if "/" in name else name
    known = known_model(plain)
    told, folder = (FolderFacts(), None) if known else model_facts(local or plain, None, file.parent)
    told.add("the harness", **known, method_id=UNTUNED)
    return Found(
        label=name,
        identity=[name, local, arguments.get("revision")],
        facts=told.facts,
        settings={"model": name, "model_args": arguments, "packages": about.get("packages"), **told.settings},
        source=told.source,
        place=str(folder or ""),
        joins=[local or plain],
    )


_SHOTS = ("fewshot", "num_fewshot", "n_shot", "n_shots", "num_shots", "shots", "k_shot", "few_shot", "fewshots")
"""What tasks call the number of their demonstrations."""
_NO_VARIANT = ("model_path", "device", "revision", "batch_size", "dtype", "torch_dtype", "tokenizer", "tokenizer_path",
               "base_url", "token", "api_key", "max_connections", "seed", "fewshot_seed", "custom_outputs",
               "enable_thinking_tokens", "device_map", "gpu_memory_utilization", "tensor_parallel_size")  # fmt: skip


def _shots(about: Mapping[str, Any]) -> tuple[int, str]:
    """Number of demonstrations, and what else makes this another evaluation than that of the task as it is."""
    given = {**(about.get("task_args") or {})}
    shots = 0
    for name in _SHOTS:
        value = given.get(name)
        if isinstance(value, int):
            shots = int(value)
            del given[name]
            break
    arguments = {name: value for name, value in (about.get("model_args") or {}).items() if name not in _NO_VARIANT}
    parts = [f"{name}={value}" for name, value in sorted({**given, **arguments}.items())
             if value not in (None, "", {}, []) and name not in ("seed", "shuffle", "fewshot_seed")]  # fmt: skip
    return shots, ", ".join(_part(about) + parts)


def _part(about: Mapping[str, Any]) -> list[str]:
    """What part of the samples was evaluated, where it was not all of them."""
    config, data = about.get("config") or {}, about.get("dataset") or {}
    ids = data.get("sample_ids")
    if isinstance(ids, list) and ids and len(ids) == data.get("samples"):
        return []
    if config.get("limit"):
        limit = config["limit"]
        return [f"limit={'-'.join(map(str, limit)) if isinstance(limit, list) else limit}"]
    return [f"{len(ids)} of {data['samples']}"] if config.get("sample_id") and isinstance(ids, list) and ids else []


def _evaluation(file: Path, header: Mapping[str, Any], samples: list[dict[str, Any]], skipped: Skipped) -> Evaluation:
    """A log's evaluation.

    Raises:
        DataError: it was not scored.
    """
    about, results = header["eval"], header.get("results") or {}
    shots, variant = _shots(about)
    mark: dict[str, Any] = {"task_id": str(about["task"]), "n_shot": shots}
    scorers = results.get("scores") or []
    scores = [row for place, scorer in enumerate(scorers) for row in _scores(scorer, place == 0, mark)]
    if not scores:
        raise DataError(f"{file}: results hold no score")
    config = about.get("config") or {}
    settings = {
        "source": file.name, "created": about.get("created"), "task_version": about.get("task_version"),
        "dataset": (about.get("dataset") or {}).get("name"), "epochs": config.get("epochs"),
        "limit": config.get("limit"), "revision": (about.get("revision") or {}).get("commit"),
        "task_args": about.get("task_args"), "variant": variant,
    }  # fmt: skip
    first = scorers[0].get("scorer") or scorers[0].get("name")
    return Evaluation(
        row=EvaluationRow(**mark, n_items=results.get("total_samples"),
                          settings={name: value for name, value in settings.items() if value not in (None, "", {})}),
        scores=scores,
        samples=_samples(samples, str(first), mark, f"{file}", skipped),
        task=task_row(mark["task_id"], scores[0].metric,
                      lower_is_better=[one.metric for one in scores if not is_higher_better(one.metric)] or None),
        variant=variant,
    )  # fmt: skip


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
        low, high = interval(float(value), error, scorer.get("scored_samples"))
        yield Score.told(
            **mark, metric=f"{prefix}{name}" + (f".{reducer}" if reducer not in (None, "mean") else ""),
            value=float(value), stderr=error, ci_low=low, ci_high=high,
            n=scorer.get("scored_samples"), n_failed=scorer.get("unscored_samples"),
        )  # fmt: skip


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
        offered = _offered(sample)
        rows[item, number] = SampleScore(**mark, item_id=item, sample=number, value=value, verdict=verdict, **offered)
    if lost:
        skipped.add(f"{Path(where).name}, samples without a number as their score", f"{lost:,}")
    return list(rows.values())


def _offered(sample: Mapping[str, Any]) -> dict[str, Any]:
    """How many choices a sample has, and which are right: its target names them by letters, from A."""
    choices, target = sample.get("choices"), sample.get("target")
    if not isinstance(choices, list) or len(choices) < 2:
        return {}
    letters = [chr(ord("A") + place) for place in range(min(len(choices), 26))]
    named = list(target) if isinstance(target, str | list) else []
    told = bool(named) and all(one in letters for one in named)
    sizes = [len(str(choice).encode("utf-8", "replace")) for choice in choices]
    return {
        "n_choices": len(choices),
        "answers": sorted(letters.index(one) for one in named) if told else None,
        "choice_bytes": sizes,
    }


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
