"""Instruction data as a model reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from astraios.collect.data import IGNORED, DataSpec, encode, prepare
from astraios.collect.sources import SOURCES, InstructionData, Record
from astraios.errors import DataError

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token if m.role == 'assistant' else '' }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
RECORDS = [Record("Add 1.", "x + 1"), Record("Say hé.", " hé")]


@pytest.fixture
def tokenizer(small_models: list[str]):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(small_models[0])


def counted_text(tokenizer, labels: list[int]) -> str:
    return tokenizer.decode([token for token in labels if token != IGNORED])


def test_only_the_answer_counts(tokenizer) -> None:
    spec = DataSpec(answers_only=True)
    for record, (ids, labels) in zip(RECORDS, encode(spec, RECORDS, tokenizer), strict=True):
        assert tokenizer.decode(ids) == f"Question: {record.prompt}\n\nAnswer: {record.completion}<|endoftext|>"
        assert counted_text(tokenizer, labels) == f"{record.completion}<|endoftext|>"
        assert len(ids) == len(labels)
    for ids, labels in encode(DataSpec(), RECORDS, tokenizer):
        assert ids == labels, "the paper counts all"


def test_a_token_across_the_border_counts() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<end>": 0, "A": 1, ":": 2, "_": 3, "b": 4, "_b": 5, "Q": 6}
    bpe = Tokenizer(models.BPE(vocab=words, merges=[("_", "b")]))
    bpe.pre_tokenizer = pre_tokenizers.Split("|", "removed")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>")
    spec = DataSpec(prompt_format="{prompt}A:_{completion}", answers_only=True)
    [(ids, labels)] = encode(spec, [Record("Q", "b")], tokenizer)
    assert ids == [6, 1, 2, 5, 0]
    assert labels == [IGNORED, IGNORED, IGNORED, 5, 0]


def test_a_chat_template_takes_the_place_of_the_format(tokenizer) -> None:
    with pytest.raises(DataError, match=r"no chat template.*\[data\] chat_template"):
        list(encode(DataSpec(chat_template=True), RECORDS, tokenizer))
    tokenizer.chat_template = TEMPLATE
    spec = DataSpec(chat_template=True, answers_only=True)
    for record, (ids, labels) in zip(RECORDS, encode(spec, RECORDS, tokenizer), strict=True):
        assert tokenizer.decode(ids) == f"<user>{record.prompt}<assistant>{record.completion}<|endoftext|>"
        assert counted_text(tokenizer, labels) == f"{record.completion}<|endoftext|>"


def test_bytes_are_those_of_the_text(tokenizer) -> None:
    data = InstructionData("x", tuple(RECORDS) * 40, tuple(RECORDS) * 40)
    packed, row = prepare(DataSpec(sequence_length=64), data, tokenizer)
    test = packed.test.flatten().tolist()
    # A token a byte, but for end-of-text, which is none.
    assert packed.bytes_per_token == row.bytes_per_token
    assert packed.bytes_per_token == pytest.approx(1 - test.count(tokenizer.eos_token_id) / len(test), abs=0.01)


def test_columns_and_files_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    from astraios.collect.sources import hub

    rows = [{"instruction": f"q{i}", "output": f"a{i}"} for i in range(50)]
    columns = {"prompt_column": "instruction", "completion_column": "output"}
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    loaded = [
        SOURCES.get("table").load({"path": str(tmp_path / name), "test_share": 0.2, **columns})
        for name in ("rows.parquet", "rows.jsonl")
    ]
    assert loaded[0].train == loaded[1].train
    assert len(loaded[0].train) + len(loaded[0].test) == 50
    assert Record("q0", "a0") in loaded[0].train + loaded[0].test

    names = ["README.md", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test.jsonl"]
    monkeypatch.setattr(hub, "list_files", lambda repository, revision: names)
    asked = []

    def download(repository: str, file: str, revision: str) -> Path:
        asked.append(file)
        return tmp_path / f"rows.{file.rsplit('.', 1)[1]}"

    monkeypatch.setattr(hub, "download", download)
    data = SOURCES.get("hub").load({"id": "some/set", **columns})
    assert asked == names[1:]
    assert (len(data.train), len(data.test)) == (100, 50)
    names[:] = ["README.md"]
    with pytest.raises(DataError, match=r"some/set: no JSONL or Parquet file.*\[data\] train_file"):
        SOURCES.get("hub").load({"id": "some/set", **columns})


def test_too_little_data_is_named(tokenizer) -> None:
    with pytest.raises(DataError, match=r"\[data\] sequence_length"):
        prepare(DataSpec(), InstructionData("x", tuple(RECORDS), tuple(RECORDS)), tokenizer)
