"""Sources of instruction data, one file each. A source is registered by being a module-level `Source`."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from astraios.registry import Registry


@dataclass(frozen=True, slots=True)
class Record:
    """One instruction and its answer."""

    prompt: str
    completion: str
    earlier: tuple[tuple[str, str], ...] = ()
    """What was said before, (role, text) a turn: a system prompt, questions of the user, answers of the assistant."""

    def answers(self) -> Iterator[Record]:
        """Each answer of the conversation as a record that ends with it; the last is this one."""
        for number, (role, text) in enumerate(self.earlier):
            if role == "assistant" and number and self.earlier[number - 1][0] == "user":
                yield Record(self.earlier[number - 1][1], text, self.earlier[: number - 1])
        yield self


@dataclass(frozen=True)
class InstructionData:
    """Instruction data in its splits, before tokenization."""

    name: str
    train: tuple[Record, ...]
    test: tuple[Record, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Where it came from: versions, licence, columns."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where instruction data come from."""

    name: str
    options: ClassVar[Mapping[str, str]] = {}
    """What it takes of the sweep's [data] table, with types."""

    def load(self, options: Mapping[str, Any]) -> InstructionData:
        """The data in their splits.

        Args:
            options: the sweep's [data] table.

        Raises:
            DataError: the data are not there or not as they should be.
        """
        raise NotImplementedError

    def pinned(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same options with the content that they mean now: a name that may mean another tomorrow is replaced."""
        return options

    def identity(self, options: Mapping[str, Any]) -> str:
        """What tells these data from others: by default the hash of their content.

        Raises:
            DataError: the data are not there or not as they should be.
        """
        return content_hash(self.load(options))


def content_hash(data: InstructionData | Sequence[Record]) -> str:
    """SHA-256 over all records of all splits (or of one list of records), hexadecimal."""
    digest = hashlib.sha256()
    for split in (data.train, data.test) if isinstance(data, InstructionData) else (data,):
        digest.update(b"split")
        for record in split:
            for text in (record.prompt, record.completion, *itertools.chain(*record.earlier)):
                raw = text.encode()
                digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


SOURCES: Registry[Source] = Registry(Source, "astraios.data.sources", "data source", group="astraios.sources")
