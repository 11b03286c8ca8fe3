"""Gold data: what a task needs beside the model, where each file of it is, and the one way to get what is missing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.evaluate.tasks._files import read_json

ENDINGS = (".jsonl.gz", ".jsonl", ".json", ".json.gz", ".parquet")


@dataclass(frozen=True, kw_only=True)
class GoldState:
    """Whether a gold file is at hand, before anything is run."""

    name: str
    state: str
    """present; on the hub (fetched when it is first needed); or missing."""
    where: str
    """The file, its place on the hub, or the way to get it."""


@dataclass(frozen=True, kw_only=True)
class Gold:
    """A gold file.

    Example:
        >>> Gold(name="humaneval_nominal", fields=("task_id",), way="HumanEval.jsonl of ReCode").state(None).state
        'missing'
    """

    name: str
    """File name without its ending."""
    fields: tuple[str, ...]
    """What each row must have."""
    hub: str | None = None
    """"owner/repo:path" of a data set on the hub that holds it as a file; an asterisk in the path stands for parts."""
    revision: str | None = None
    """Of the data set on the hub; None is its newest."""
    way: str = ""
    """How to get it where it is not on the hub as a file: what to put under `name` into the folder of gold data."""

    def rows(self, data_dir: Path | None) -> list[dict[str, Any]]:
        """Its rows, from a file in `data_dir` (or its subfolder "gold"), else from the hub.

        Raises:
            DataError: it can't be had, or is not what the task needs.
        """
        return [row for path in self._paths(data_dir) for row in self._read(path)]

    def find(self, data_dir: Path | None) -> Path | None:
        """The file in a folder; None where there is none.

        Raises:
            DataError: no such folder.
        """
        if data_dir is None:
            return None
        if not data_dir.is_dir():
            raise DataError(f"{data_dir}: no such folder of gold data")
        paths = (base / f"{self.name}{ending}" for base in (data_dir, data_dir / "gold") for ending in ENDINGS)
        return next((path for path in paths if path.exists()), None)

    def fetch(self, data_dir: Path | None) -> None:
        """Sees to it that it is on this machine.

        Raises:
            DataError: it can't be had; the line says what to do.
        """
        self._paths(data_dir)

    def state(self, data_dir: Path | None) -> GoldState:
        """Whether it is at hand; nothing is fetched."""
        found = self.find(data_dir)
        if found is not None:
            return GoldState(name=self.name, state="present", where=str(found))
        if self.hub is None:
            return GoldState(name=self.name, state="missing", where=self.advice)
        kept = _kept(self.hub, self.revision)
        return GoldState(name=self.name, state="present" if kept else "on the hub", where=str(kept or self.hub))

    @property
    def advice(self) -> str:
        """The one way to get it, in words."""
        return f"put {self.name}.jsonl into the folder of gold data (--data, data_dir): {self.way}" if self.way else ""

    def _paths(self, data_dir: Path | None) -> Sequence[Path]:
        found = self.find(data_dir)
        if found is not None:
            return [found]
        lacking = f"{data_dir}: no {self.name}.jsonl.gz there (nor .jsonl, .json, .parquet)" if data_dir else ""
        if self.hub is None:
            raise DataError(
                "; ".join(
                    filter(None, (lacking or f"the gold data {self.name} are not on the hub as a file", self.advice))
                )
            )
        return _fetched(self.name, self.hub, self.revision, lacking)

    def _read(self, path: Path) -> list[dict[str, Any]]:
        rows = read_json(path)
        for number, row in enumerate(rows, 1):
            missing = [field for field in self.fields if not isinstance(row, dict) or field not in row]
            if missing:
                raise DataError(f"{path}: row {number} has no {missing[0]!r}: not the gold data of this task")
        return list(rows)


def digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Hash of gold rows, stored with a score."""
    return hashlib.sha256(json.dumps(list(rows), sort_keys=True).encode()).hexdigest()[:16]


def _kept(hub: str, revision: str | None) -> Path | None:
    """A file of the hub that lies in the cache of this machine."""
    repo, _, file = hub.partition(":")
    if "*" in file:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    kept = try_to_load_from_cache(repo, file, repo_type="dataset", revision=revision)
    return Path(kept) if isinstance(kept, str) else None


@cache
def _fetched(name: str, hub: str, revision: str | None, lacking: str) -> tuple[Path, ...]:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        why = "huggingface_hub is not installed: name their folder with --data, or pip install huggingface_hub"
        raise DataError(_together(lacking, f"gold data {name}: {why}")) from None
    repo, _, file = hub.partition(":")
    try:
        files = _matching(repo, file, revision) if "*" in file else [file]
        return tuple(Path(hf_hub_download(repo, one, repo_type="dataset", revision=revision)) for one in files)
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        why = f"gold data {name} could not be had from the hub ({line}): name their folder with --data"
        raise DataError(_together(lacking, why)) from None


def _matching(repo: str, pattern: str, revision: str | None) -> list[str]:
    from fnmatch import fnmatch

    from huggingface_hub import list_repo_files

    found = sorted(
        one for one in list_repo_files(repo, repo_type="dataset", revision=revision) if fnmatch(one, pattern)
    )
    if not found:
        raise OSError(f"{repo} holds no {os.path.basename(pattern)}")
    return found


def _together(*parts: str) -> str:
    return "; ".join(filter(None, parts))
