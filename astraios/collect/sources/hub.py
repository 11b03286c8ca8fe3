"""Instruction data from the Hugging Face hub; the paper's is bigcode/guanaco-commits.

Options of the sweep's [data] table: `id`, `revision` ("main"), `train_file` and `test_file` (JSONL or Parquet inside
the repository), `prompt_column`, `completion_column`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.collect.sources import InstructionData, Source
from astraios.collect.sources.table import read_records
from astraios.errors import DataError, MissingExtraError


@dataclass(frozen=True)
class Hub(Source):
    """Two files of a data repository on the hub."""

    def load(self, options: Mapping[str, Any]) -> InstructionData:
        missing = {"id", "train_file", "test_file"} - set(options)
        if missing:
            raise DataError(f"[data] source = 'hub' needs {', '.join(sorted(missing))}")
        columns = (str(options.get("prompt_column", "prompt")), str(options.get("completion_column", "completion")))
        revision = str(options.get("revision", "main"))
        train, test = (
            read_records(download(options["id"], options[f"{split}_file"], revision), *columns)
            for split in ("train", "test")
        )
        return InstructionData(
            name=options["id"], train=tuple(train), test=tuple(test), settings={"revision": revision}
        )

    def identity(self, options: Mapping[str, Any]) -> str:
        # The revision stands for the content: a plan needs no download.
        return f"{options.get('id')}@{options.get('revision', 'main')}"


def download(repository: str, file: str, revision: str) -> Path:
    """A file of a data repository, from the local cache or the hub.

    Raises:
        DataError: the hub or the file can't be reached; one line.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise MissingExtraError("huggingface_hub", "train", f"data set {repository}") from None
    try:
        return Path(hf_hub_download(repository, file, revision=revision, repo_type="dataset"))
    except Exception as error:
        # The hub client raises a zoo of its own, requests' and OS errors; all mean the same to the user.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"data set {repository}, file {file}: can't be had from the hub ({reason})") from None


hub = Hub(name="hub")
