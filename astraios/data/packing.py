"""Instruction data as a model reads them: prompt format, tokens, blocks of one length."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from astraios.data.sources import SOURCES, InstructionData, Record, content_hash
from astraios.errors import DataError, UsageError
from astraios.records import DatasetRow
from astraios.runs.identity import asked
from astraios.settings import check_fields, setting

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

LOCATIONS = ("path", "test_path")
NAMES = (*LOCATIONS, "revision")
"""Options that say where the data are; what they are is in a cell's `data_identity`."""
IGNORED = -100
"""Label of a token that does not count in the loss (PyTorch's convention)."""


@dataclass(frozen=True)
class DataSpec:
    """The sweep's [data] table: which data, and how they are packed."""

    source: str = "hub"
    """A registered source: python-stdlib, table, hub."""
    prompt_format: str = "Question: {prompt}\n\nAnswer: {completion}"
    """One record as text; the paper's by default."""
    sequence_length: int = setting(2048, minimum=2, unit="tokens")
    """Tokens a block."""
    test_blocks: int = setting(0, minimum=0, unit="blocks")
    """Size of the fixed test set in blocks; 0 takes all of it."""
    train_eval_blocks: int = setting(16, minimum=0, unit="blocks")
    """Size of the fixed part of the training data whose loss is reported as split train."""
    answers_only: bool = False
    """Whether only the answer's tokens count in the loss (the paper counts all)."""
    chat_template: bool = setting(False, later=True)
    """Whether the tokenizer's chat template takes the place of `prompt_format`: a user's turn, then the assistant's."""
    n_train_tokens: int | None = setting(None, later=True, kind="whole", minimum=1, unit="tokens")
    """How much of the training data is used: its first whole blocks that hold no more tokens than this. Unset: all."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the source takes: path, id, columns, ..."""

    def __post_init__(self) -> None:
        check_fields(self, "[data] ")
        if not re.fullmatch(r"[^{}]*\{prompt\}[^{}]*\{completion\}[^{}]*", self.prompt_format):
            raise UsageError(
                "[data] prompt_format must hold {prompt} once, then {completion} once, and no other braces"
            )

    @cached_property
    def asked(self) -> dict[str, Any]:
        """What is part of a run's identity, as JSON types."""
        content = asked(self)
        # The location of a local file is no part of what was asked: its content is, in the cell's data_identity.
        content["options"] = {key: value for key, value in content["options"].items() if key not in LOCATIONS}
        return content


@dataclass(frozen=True)
class PackedData:
    """Blocks of tokens: each tensor has shape (blocks, sequence_length) and dtype int64."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    train_eval_blocks: int
    bytes_per_token: float
    """UTF-8 bytes of text a token, over the tokens of the test set that count in the loss."""


def load(spec: DataSpec) -> InstructionData:
    """The records of the sweep's data.

    Raises:
        UsageError: unknown source.
        DataError: the source can't give them.
    """
    return SOURCES.get(spec.source).load(spec.options)


def prompt_text(spec: DataSpec, record: Record, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
    """What stands before the answer of a record; a chat template needs the tokenizer that has it.

    Raises:
        DataError: the tokenizer has no chat template, or the prompt format no place for one of the turns.
    """
    if spec.chat_template:
        return _chat(tokenizer, [*record.earlier, ("user", record.prompt)], add_generation_prompt=True)
    return _earlier_text(spec, record) + spec.prompt_format.split("{completion}")[0].replace("{prompt}", record.prompt)


def record_text(spec: DataSpec, record: Record, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
    """A record as the model reads it, without end-of-text."""
    if spec.chat_template:
        return _chat(tokenizer, [*record.earlier, ("user", record.prompt), ("assistant", record.completion)])
    return prompt_text(spec, record) + record.completion + spec.prompt_format.split("{completion}")[1]


def _earlier_text(spec: DataSpec, record: Record) -> str:
    """Earlier questions and answers in the prompt format, one after the other; a system prompt stands as it is.

    Raises:
        DataError: a turn that is none of these, or not where it belongs.
    """
    texts, question = [], None
    for role, text in record.earlier:
        if role == "system" and question is None:
            texts.append(text)
        elif role == "user" and question is None:
            question = text
        elif role == "assistant" and question is not None:
            texts.append(record_text(spec, Record(question, text)))
            question = None
        else:
            raise DataError(
                f"a conversation has a turn of {role!r} where the prompt format has no place for it: set [data] "
                "chat_template = true, or remove such rows"
            )
    if question is not None:
        raise DataError(
            "a conversation has two questions in a row: set [data] chat_template = true, or remove such rows"
        )
    return "".join(f"{text}\n\n" for text in texts)


def _chat(tokenizer: PreTrainedTokenizerBase | None, turns: list[tuple[str, str]], **how: Any) -> str:
    if tokenizer is None or not tokenizer.chat_template:
        raise DataError("the base model's tokenizer has no chat template: set [data] chat_template = false")
    messages = [{"role": role, "content": text} for role, text in turns]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **how))


def token_ids(spec: DataSpec, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of texts that `prompt_text` or `record_text` gave; a chat template has written its own markers."""
    return list(tokenizer(list(texts), add_special_tokens=not spec.chat_template)["input_ids"]) if texts else []


def encode(
    spec: DataSpec, records: Sequence[Record], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[list, list]]:
    """(token ids, labels) of each record, end-of-text at its end.

    With `answers_only`, a token counts from the first one on that is not the prompt's: one that holds the prompt's last
    and the answer's first characters does. In a conversation every answer counts.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise DataError("the tokenizer has no end-of-text token: packing needs one between records")
    ids = token_ids(spec, [record_text(spec, r, tokenizer) for r in records], tokenizer)
    counted = _answers(spec, records, ids, tokenizer) if spec.answers_only else [[(0, len(tokens))] for tokens in ids]
    for tokens, spans in zip(ids, counted, strict=True):
        # A chat template, or the tokenizer itself, may have written the end already.
        whole = tokens if tokens and tokens[-1] == end else [*tokens, end]
        labels = [IGNORED] * len(whole)
        for start, stop in spans:
            labels[start:stop] = whole[start:stop]
        # The end belongs to the last answer.
        labels[spans[-1][1] :] = whole[spans[-1][1] :]
        yield whole, labels


def _answers(
    spec: DataSpec, records: Sequence[Record], ids: Sequence[list[int]], tokenizer: PreTrainedTokenizerBase
) -> list[list[tuple[int, int]]]:
    """Where the answers of each record's tokens begin and end."""
    parts = [[*record.answers()] for record in records]
    heads = iter(token_ids(spec, [prompt_text(spec, p, tokenizer) for ps in parts for p in ps], tokenizer))
    ends = iter(token_ids(spec, [record_text(spec, p, tokenizer) for ps in parts for p in ps[:-1]], tokenizer))
    spans = []
    for tokens, of_one in zip(ids, parts, strict=True):
        starts = [_common(next(heads), tokens) for _ in of_one]
        stops = [*(_common(next(ends), tokens) for _ in of_one[:-1]), len(tokens)]
        spans.append(list(zip(starts, stops, strict=True)))
    return spans


def _common(head: list[int], tokens: list[int]) -> int:
    """How many tokens both begin with."""
    return next((i for i, (a, b) in enumerate(zip(head, tokens, strict=False)) if a != b), min(len(head), len(tokens)))


def pack(pieces: Iterable[tuple[list, list]], length: int) -> tuple[Tensor, Tensor]:
    """Pieces laid end to end and cut into blocks; the incomplete last block is dropped. Shapes (blocks, length)."""
    import torch

    tokens: list[int] = []
    labels: list[int] = []
    for piece, piece_labels in pieces:
        tokens += piece
        labels += piece_labels
    blocks = len(tokens) // length
    shape = (blocks, length)
    cut = blocks * length
    return (
        torch.tensor(tokens[:cut], dtype=torch.int64).reshape(shape),
        torch.tensor(labels[:cut], dtype=torch.int64).reshape(shape),
    )


def prepare(spec: DataSpec, data: InstructionData, tokenizer: PreTrainedTokenizerBase) -> tuple[PackedData, DatasetRow]:
    """The data tokenized and packed, and their row for the database.

    The training records are laid in an order that depends on the data alone; which blocks a step sees is the training
    loop's business.

    Raises:
        DataError: a split does not fill one block.
    """
    length = spec.sequence_length
    train, train_labels = pack(encode(spec, data.train, tokenizer), length)
    test, test_labels = pack(encode(spec, data.test, tokenizer), length)
    if len(train) == 0 or len(test) == 0:
        raise DataError(
            f"{data.name}: {len(train)} training and {len(test)} test blocks of {length} tokens; "
            "give more data or a smaller [data] sequence_length"
        )
    if spec.test_blocks:
        test, test_labels = test[: spec.test_blocks], test_labels[: spec.test_blocks]
    # Of what counts in the loss; end-of-text is a token of it, but no text.
    counted = test[test_labels != IGNORED]
    n_bytes = len(str(tokenizer.decode(counted.tolist(), skip_special_tokens=True)).encode())
    packed = PackedData(
        train=train,
        train_labels=train_labels,
        test=test,
        test_labels=test_labels,
        train_eval_blocks=min(spec.train_eval_blocks, len(train)),
        bytes_per_token=n_bytes / max(1, counted.numel()),
    )
    digest = content_hash(data)
    prompt_format = "chat template" if spec.chat_template else spec.prompt_format
    record = DatasetRow(
        dataset_id=f"{data.name}@{digest[:12]}",
        name=data.name,
        hash=digest,
        n_train_tokens=train.numel(),
        n_test_tokens=test.numel(),
        bytes_per_token=packed.bytes_per_token,
        settings={**data.settings, "sequence_length": length, "prompt_format": prompt_format},
        eval_hash=_evaluation_hash(spec, data, prompt_format),
    )
    return first_blocks(spec, packed, record)


def first_blocks(spec: DataSpec, packed: PackedData, record: DatasetRow) -> tuple[PackedData, DatasetRow]:
    """As much of the training data as is asked for (`n_train_tokens`); the test split stays as it is.

    The blocks are the first ones, so that what a smaller amount holds a larger one holds too. Another amount is another
    data set, with a name in common.

    Raises:
        DataError: there is not as much, or it does not fill one block.
    """
    wanted, length = spec.n_train_tokens, spec.sequence_length
    if wanted is None:
        return packed, record
    n_blocks = wanted // length
    if not 0 < n_blocks <= len(packed.train):
        raise DataError(
            f"[data] n_train_tokens = {wanted}: {record.name} has {packed.train.numel()} training tokens in blocks of "
            f"{length}; ask for one block at least, and for no more than there is"
        )
    settings = record.settings if isinstance(record.settings, Mapping) else {}
    digest = hashlib.sha256(f"{record.hash} first {n_blocks} blocks of {length}".encode()).hexdigest()
    return (
        replace(
            packed,
            train=packed.train[:n_blocks],
            train_labels=packed.train_labels[:n_blocks],
            train_eval_blocks=min(packed.train_eval_blocks, n_blocks),
        ),
        replace(
            record,
            dataset_id=f"{record.name}@{digest[:12]}",
            hash=digest,
            n_train_tokens=n_blocks * length,
            settings={**settings, "n_train_tokens": wanted},
        ),
    )


def _evaluation_hash(spec: DataSpec, data: InstructionData, prompt_format: str) -> str:
    """What the loss of the test split is measured on: its records, and how they are read."""
    import hashlib

    reading = [prompt_format, str(spec.sequence_length), str(spec.test_blocks), str(spec.answers_only)]
    return hashlib.sha256("\0".join([content_hash(data.test), *reading]).encode()).hexdigest()


def block_order(n_blocks: int, n_needed: int, seed: int) -> list[int]:
    """Which blocks are trained on, in order: whole epochs, each shuffled by the seed.

    A function of its arguments alone, so that a resumed run sees the same blocks.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    epochs = math.ceil(n_needed / n_blocks)
    order: list[int] = []
    for _ in range(epochs):
        order += torch.randperm(n_blocks, generator=generator).tolist()
    return order[:n_needed]
