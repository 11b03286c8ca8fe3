"""Instruction data from the Hugging Face hub; the paper's is bigcode/guanaco-commits.

Options of the sweep's [data] table: `id`, `revision` (a branch, a tag or a commit; "main"), `prompt_column` and
`completion_column`, or `messages_column` (conversations), and `train_file` and `test_file` (JSONL or Parquet inside the
repository; by default the files whose names hold "train" and "test").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from astraios import hub as on_hub
from astraios.data.sources import InstructionData, Source
from astraios.data.sources._rows import OPTIONS, Columns
from astraios.data.sources.table import read_records
from astraios.errors import DataError, MissingExtraError


@dataclass(frozen=True)
class Hub(Source):
    """Two files of a data repository on the hub."""

    options: ClassVar[Mapping[str, str]] = {
        **OPTIONS,
        **dict.fromkeys(("id", "revision", "train_file", "test_file"), "str"),
    }

    def load(self, options: Mapping[str, Any]) -> InstructionData:
        if "id" not in options:
            raise DataError("[data] source = 'hub' needs id = 'ORGANISATION/NAME'")
        columns, revision = Columns.of(options), str(self.pinned(options).get("revision", "main"))
        train, test = (
            [
                record
                for file in _files_of(options, split, revision)
                for record in read_records(download(options["id"], file, revision), columns)
            ]
            for split in ("train", "test")
        )
        return InstructionData(
            name=options["id"], train=tuple(train), test=tuple(test), settings={"revision": revision}
        )

    def pinned(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        known = on_hub.commit(options["id"], options.get("revision"), "dataset") if "id" in options else None
        return {**options, "revision": known} if known else options

    def identity(self, options: Mapping[str, Any]) -> str:
        # The commit stands for the content: a plan needs no download.
        return f"{options.get('id')}@{options.get('revision', 'main')}"


def _files_of(options: Mapping[str, Any], split: str, revision: str) -> list[str]:
    """The file that the sweep names, or all data files whose names hold the split's."""
    if f"{split}_file" in options:
        return [str(options[f"{split}_file"])]
    names = list_files(options["id"], revision)
    found = [n for n in names if split in Path(n).name.lower() and n.endswith((".parquet", ".jsonl", ".jsonl.gz"))]
    if not found:
        raise DataError(
            f"data set {options['id']}: no JSONL or Parquet file named after {split!r}; set [data] {split}_file to one "
            f"of its {len(names)} files"
        )
    return found


def list_files(repository: str, revision: str) -> list[str]:
    """Names of the files of a data repository, sorted.

    Raises:
        DataError: the hub can't be reached or has no such repository; one line.
    """
    return sorted(
        _from_hub(
            f"data set {repository}",
            lambda hub: hub.list_repo_files(repository, revision=revision, repo_type="dataset"),
        )
    )


def download(repository: str, file: str, revision: str) -> Path:
    """A file of a data repository, from the local cache or the hub.

    Raises:
        DataError: the hub or the file can't be reached; one line.
    """
    return Path(
        _from_hub(
            f"data set {repository}, file {file}",
            lambda hub: hub.hf_hub_download(repository, file, revision=revision, repo_type="dataset"),
        )
    )


def _from_hub(what: str, ask: Callable[[Any], Any]) -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtraError("huggingface_hub", "train", what) from None
    try:
        return ask(huggingface_hub)
    except Exception as error:
        # The hub client raises a zoo of its own, requests' and OS errors; all mean the same to the user.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{what}: can't be had from the hub ({reason})") from None


hub = Hub(name="hub")
