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

from astraios.errors import DataError, UsageError
from astraios.evaluate.options import ScoreOptions
from astraios.evaluate.tasks._files import read_json
from astraios.hub import commit, commit_of

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
        >>> Gold(name="x", fields=("task_id",), way="HumanEval.jsonl of ReCode").state(ScoreOptions()).state
        'missing'
    """

    name: str
    """File name without its ending."""
    fields: tuple[str, ...]
    """What each row must have."""
    hub: str | None = None
    """"owner/repo:path" of a data set on the hub that holds it as a file; an asterisk in the path stands for parts."""
    way: str = ""
    """How to get it where it is not on the hub as a file: what to put under `name` into the folder of gold data."""

    def rows(self, options: ScoreOptions) -> list[dict[str, Any]]:
        """Its rows, from a file in the folder of the options (or its subfolder "gold"), else from the hub.

        Raises:
            DataError: it can't be had, or is not what the task needs.
            UsageError: a revision of a folder, or one that the hub does not know.
        """
        return [row for path in self._paths(options) for row in self._read(path)]

    def commit(self, options: ScoreOptions) -> str | None:
        """The commit of the hub that `rows` reads; None where it reads a folder."""
        return None if self.find(options.data_dir) is not None else commit_of(self._paths(options)[0])

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

    def fetch(self, options: ScoreOptions) -> None:
        """Sees to it that it is on this machine.

        Raises:
            DataError: it can't be had; the line says what to do.
        """
        self._paths(options)

    def state(self, options: ScoreOptions) -> GoldState:
        """Whether it is at hand; nothing is fetched."""
        found = self.find(options.data_dir)
        if found is not None:
            return GoldState(name=self.name, state="present", where=str(found))
        if self.hub is None:
            return GoldState(name=self.name, state="missing", where=self.advice)
        kept = _kept(self.hub, options.revision)
        return GoldState(name=self.name, state="present" if kept else "on the hub", where=str(kept or self.hub))

    @property
    def advice(self) -> str:
        """The one way to get it, in words."""
        return f"put {self.name}.jsonl into the folder of gold data (--data, data_dir): {self.way}" if self.way else ""

    def _paths(self, options: ScoreOptions) -> Sequence[Path]:
        data_dir, found = options.data_dir, self.find(options.data_dir)
        if data_dir is not None and options.revision is not None:
            raise UsageError(
                f"revision = {options.revision!r}: the gold data {self.name} come from a folder, not from the hub"
            )
        if found is not None:
            return [found]
        lacking = f"{data_dir}: no {self.name}.jsonl.gz there (nor .jsonl, .json, .parquet)" if data_dir else ""
        if self.hub is None:
            raise DataError(
                "; ".join(
                    filter(None, (lacking or f"the gold data {self.name} are not on the hub as a file", self.advice))
                )
            )
        return _fetched(self.name, self.hub, options.revision, lacking)

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
        pinned = commit(repo, revision, "dataset") or revision
        files = _matching(repo, file, pinned) if "*" in file else [file]
        return tuple(Path(hf_hub_download(repo, one, repo_type="dataset", revision=pinned)) for one in files)
    except UsageError:
        raise
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
