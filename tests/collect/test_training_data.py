"""Instruction data as a model reads them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from astraios.data.packing import IGNORED, DataSpec, encode, prepare
from astraios.data.sources import SOURCES, InstructionData, Record, content_hash
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


CHAT = Record(
    "And 2?",
    "x + 2",
    (("system", "Be brief."), ("user", "Add 1."), ("assistant", "x + 1"), ("user", "Why?"), ("assistant", "So.")),
)


@pytest.mark.parametrize("chat_template", [True, False])
def test_every_answer_of_a_conversation_counts(tokenizer, chat_template: bool) -> None:
    tokenizer.chat_template = TEMPLATE
    spec = DataSpec(chat_template=chat_template, answers_only=True)
    [(ids, labels)] = encode(spec, [CHAT], tokenizer)
    end = "<|endoftext|>"
    if chat_template:
        text = (
            f"<system>Be brief.<user>Add 1.<assistant>x + 1{end}<user>Why?<assistant>So.{end}"
            f"<user>And 2?<assistant>x + 2{end}"
        )
        counted = f"x + 1{end}So.{end}x + 2{end}"
    else:
        text = (
            "Be brief.\n\nQuestion: Add 1.\n\nAnswer: x + 1\n\nQuestion: Why?\n\nAnswer: So.\n\n"
            f"Question: And 2?\n\nAnswer: x + 2{end}"
        )
        counted = f"x + 1So.x + 2{end}"
    assert tokenizer.decode(ids) == text
    assert counted_text(tokenizer, labels) == counted
    everything = dataclasses.replace(spec, answers_only=False)
    assert [labels for _, labels in encode(everything, [CHAT], tokenizer)] == [ids]


def test_conversations_of_any_shape(tmp_path: Path) -> None:
    said = [*CHAT.earlier, ("user", CHAT.prompt), ("assistant", CHAT.completion)]
    other = {"user": "human", "assistant": "gpt"}
    shapes = [
        [{"role": role, "content": text} for role, text in said],
        [{"from": other.get(role, role), "value": text} for role, text in said],
    ]
    for turns in shapes:
        (tmp_path / "chat.jsonl").write_text("".join(json.dumps({"id": i, "turns": turns}) + "\n" for i in range(2)))
        where = {"path": str(tmp_path / "chat.jsonl"), "test_path": str(tmp_path / "chat.jsonl")}
        data = SOURCES.get("table").load({**where, "messages_column": "turns"})
        assert data.train == (CHAT, CHAT)


def test_the_hash_holds_what_was_said_earlier() -> None:
    def hashed(record: Record) -> str:
        return content_hash(InstructionData("x", (record,), ()))

    plain = Record(CHAT.prompt, CHAT.completion)
    assert len({hashed(CHAT), hashed(plain), hashed(dataclasses.replace(plain, earlier=CHAT.earlier[:2]))}) == 3


@pytest.mark.promise("what can't be trained is said in one line")
@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (None, "no column 'turns'; set \\[data\\] messages_column"),
        ("hello", "row 2, column 'turns': not a list of turns"),
        ([{"role": "user", "content": "a"}], "must end with a question of the user and an answer of the assistant"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}], "the last answer is empty"),
        ([{"role": "user", "content": [{"type": "image"}]}], "row 2, column 'turns', turn 1: must have a role"),
    ],
)
def test_bad_conversations_are_named(tmp_path: Path, turns: object, reason: str) -> None:
    good = {"turns": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps(good) + "\n" + json.dumps({} if turns is None else {"turns": turns}) + "\n")
    with pytest.raises(DataError, match=reason):
        SOURCES.get("table").load({"path": str(file), "messages_column": "turns"})


@pytest.mark.promise("what can't be trained is said in one line")
@pytest.mark.parametrize("earlier", [(("tool", "3"),), (("user", "a"), ("user", "b")), (("user", "a"),)])
def test_turns_that_the_format_has_no_place_for(tokenizer, earlier: tuple) -> None:
    with pytest.raises(DataError, match=r"chat_template = true, or remove such rows"):
        list(encode(DataSpec(), [Record("q", "a", earlier)], tokenizer))


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

    from astraios.data.sources import hub

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
