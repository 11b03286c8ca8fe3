"""Rows of a user's table as records: which columns hold the question and the answer, or a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from astraios.data.sources import Record
from astraios.errors import DataError

OPTIONS: Mapping[str, str] = MappingProxyType(
    {"prompt_column": "str", "completion_column": "str", "messages_column": "str"}
)
"""What [data] may say of columns, with types."""
_ROLES = {"human": "user", "gpt": "assistant"}
"""ShareGPT's names of roles."""


@dataclass(frozen=True)
class Columns:
    """Names of columns."""

    prompt: str = "prompt"
    completion: str = "completion"
    messages: str | None = None
    """Where each row is a conversation: a list of turns, {role, content} or ShareGPT's {from, value}."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Columns:
        """Those that the sweep's [data] table names."""
        names = {key.removesuffix("_column"): options[key] for key in OPTIONS if key in options}
        return cls(**names)

    def record(self, row: Any, where: str) -> Record:
        """A row as a record.

        Args:
            row: by column.
            where: file and row, for errors.

        Raises:
            DataError: a column is missing, or the answer is.
        """
        wanted = ("messages",) if self.messages else ("prompt", "completion")
        for name in wanted:
            column = getattr(self, name)
            if not isinstance(row, dict) or column not in row:
                raise DataError(f"{where}: no column {column!r}; set [data] {name}_column")
        if self.messages:
            return _conversation(row[self.messages], f"{where}, column {self.messages!r}")
        answer = row[self.completion]
        if not isinstance(answer, str) or not answer.strip():
            raise DataError(f"{where}: empty answer in column {self.completion!r}; remove the row")
        return Record(str(row[self.prompt]), answer)


def _conversation(messages: Any, where: str) -> Record:
    """The last answer, the question before it, and what was said earlier."""
    if not isinstance(messages, list):
        raise DataError(f"{where}: not a list of turns, each with role and content")
    turns = tuple(_turn(turn, f"{where}, turn {number}") for number, turn in enumerate(messages, 1))
    if [role for role, _ in turns[-2:]] != ["user", "assistant"]:
        raise DataError(f"{where}: must end with a question of the user and an answer of the assistant")
    if not turns[-1][1].strip():
        raise DataError(f"{where}: the last answer is empty; remove the row")
    return Record(turns[-2][1], turns[-1][1], turns[:-2])


def _turn(turn: Any, where: str) -> tuple[str, str]:
    if isinstance(turn, dict):
        role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        if isinstance(role, str) and isinstance(content, str):
            return _ROLES.get(role, role), content
    raise DataError(f"{where}: must have a role and a content, both text")
