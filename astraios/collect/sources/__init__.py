"""Sources of instruction data, one file each. A source is registered by being a module-level `Source`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from astraios.registry import Registry


@dataclass(frozen=True, slots=True)
class Record:
    """One instruction and its answer."""

    prompt: str
    completion: str


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

    def load(self, options: Mapping[str, Any]) -> InstructionData:
        """The data in their splits.

        Args:
            options: the sweep's [data] table.

        Raises:
            DataError: the data are not there or not as they should be.
        """
        raise NotImplementedError

    def identity(self, options: Mapping[str, Any]) -> str:
        """What tells these data from others: by default the hash of their content.

        Raises:
            DataError: the data are not there or not as they should be.
        """
        return content_hash(self.load(options))


def content_hash(data: InstructionData) -> str:
    """SHA-256 over all records of all splits, hexadecimal."""
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        digest.update(b"split")
        for record in split:
            for text in (record.prompt, record.completion):
                raw = text.encode()
                digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


SOURCES: Registry[Source] = Registry(Source, "astraios.collect.sources", "data source", group="astraios.sources")
