"""generate -> execute -> score with a tiny random model on real HumanEval problems, and what generation promises."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from astraios.data.packing import DataSpec
from astraios.errors import CellError, MissingExtraError, StoreError, UsageError
from astraios.evaluate.ending import END
from astraios.evaluate.generate import generate, vllm
from astraios.evaluate.generate.hf import Generator
from astraios.evaluate.generate.requests import Request, encode, stream
from astraios.evaluate.model import identity, load
from astraios.evaluate.options import EvaluateOptions, ScoreOptions, Subject
from astraios.evaluate.tasks import TASKS, Decoding, Scoring, TunedModel
from tests.conftest import assert_one_line, run_cli

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
SHARED = Path(os.environ.get("ASTRAIOS_SHARED") or Path(__file__).resolve().parents[3] / "shared")
GOLD = SHARED / "data" / "paper" / "gold"
needs_data = pytest.mark.skipif(not GOLD.is_dir(), reason=f"no gold data at {GOLD} (set ASTRAIOS_SHARED)")


def tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0, **{letter: i + 1 for i, letter in enumerate(letters)}}
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>")


def tiny():
    from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = GPTBigCodeConfig(
        vocab_size=257, n_positions=2048, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return GPTBigCodeForCausalLM(config).eval()


def tuned(kind: str):
    from peft import PromptEncoderConfig, PromptTuningConfig, get_peft_model

    model = tiny()
    if kind == "ptuning":
        return get_peft_model(
            model, PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, encoder_hidden_size=16)
        )
    if kind == "prompt":
        return get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5))
    return model


@pytest.mark.parametrize("kind", ["fft", "ptuning", "prompt"])
def test_cache_gives_what_full_passes_give(kind: str) -> None:
    """Greedy tokens equal those of a loop without a cache that feeds the whole text each time."""
    model, words = tuned(kind).eval(), tokenizer()
    texts = ["def f(x):", "def g(y):", "a much longer prompt than the others"]
    found = dict(Generator(model, words, max_length=60, batch=2).run([Request(t, 0, t) for t in texts]))
    for request, answer in found.items():
        ids = words(request.text)["input_ids"]
        start = len(ids)
        while len(ids) < 60:
            with torch.inference_mode():
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == 0:
                break
        expected = ids[start : ids.index(0, start) if 0 in ids[start:] else None]
        assert answer == words.decode(expected, skip_special_tokens=True)


def test_a_sample_has_its_own_stream() -> None:
    """Batches and order change nothing."""
    model, words = tiny(), tokenizer()
    requests = [Request(f"item{i % 3}", i // 3, "def f(x):" + "y" * (i % 2), ("\n",)) for i in range(9)]
    kwargs = {"max_length": 40, "temperature": 0.8, "seed": 3}
    one = dict(Generator(model, words, batch=1, **kwargs).run(requests))
    many = dict(Generator(model, words, batch=9, **kwargs).run(requests[::-1]))
    assert one == many
    assert len(set(one.values())) > 3
    other = dict(Generator(model, words, batch=9, **{**kwargs, "seed": 4}).run(requests))
    assert other != one
    assert all("\n" not in answer[:-1] for answer in one.values()), "an answer ends with what stopped it"
    assert stream(0, "a", 1).random() != stream(0, "a", 2).random()


class Counting(Generator):
    """Counts the samples that are asked for, and stops after some."""

    asked = 0
    stop_after = 10**9

    def run(self, requests):
        for request, answer in super().run(requests):
            Counting.asked += 1
            yield request, answer
            if Counting.asked >= Counting.stop_after:
                raise KeyboardInterrupt


@needs_data
def test_interrupted_generation_goes_on_by_sample(tmp_path: Path) -> None:
    model, words, task = tiny(), tokenizer(), TASKS.get("humanevalexplain-python")
    scoring, drawn = (
        Scoring(options=ScoreOptions(data_dir=GOLD, limit=2)),
        Decoding(n_samples=3, temperature=0.5, max_length=700),
    )

    def make(decoding: Decoding) -> Counting:
        return Counting(model, words, decoding.max_length, decoding.temperature, batch=2)

    Counting.asked, Counting.stop_after = 0, 4
    with pytest.raises(KeyboardInterrupt):
        generate(task, scoring, make, tmp_path / "a", decoding=drawn)
    Counting.stop_after = 10**9
    first = generate(task, scoring, make, tmp_path / "a", decoding=drawn)
    assert Counting.asked <= 2 * 2 * 3 + 1, "two stages of 2 x 3, and the one at the interruption"
    whole = generate(task, scoring, make, tmp_path / "b", decoding=drawn)
    assert first
    assert whole
    assert first.read_text() == whole.read_text()
    rows = [json.loads(line) for line in first.read_text().splitlines()]
    assert [len(row["samples"]) for row in rows] == [3, 3]
    with pytest.raises(StoreError, match="another task, model or decoding"):
        generate(task, scoring, make, tmp_path / "a", decoding=Decoding(n_samples=2))


@needs_data
@pytest.mark.promise("trials never stand in the way of the evaluation that counts")
def test_more_samples_and_problems_join_what_is_there(tmp_path: Path) -> None:
    """Two samples after one ask for one more, a trial is part of the whole, and other prompts mix with none."""
    model, words, devign = tiny(), tokenizer(), TASKS.get("devign")
    zero, one = (
        devign.prompts(
            Scoring(options=devign.read_options(ScoreOptions, {"data_dir": GOLD, "limit": 6, "n_shot": n}, ""))
        )
        for n in (0, 1)
    )
    others = sum(a.text != b.text for a, b in zip(zero, one, strict=True))
    assert others

    def asked(name: str, limit: int, **options: object) -> int:
        Counting.asked = 0
        of = TASKS.get(name)
        own = of.read_options(EvaluateOptions, {"data_dir": GOLD, "limit": limit, "workers": 1, **options}, "")
        of.evaluate(TunedModel(model, words, 0, 300, DataSpec("none"), options=replace(own, folder=tmp_path)))
        return Counting.asked

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("astraios.evaluate.generate.hf.Generator", Counting)
        assert asked("humaneval", 1) == 1
        assert asked("humaneval", 1, n_samples=2) == 1, "the second alone"
        assert asked("humaneval", 2, n_samples=2) == 2, "the second problem's"
        assert asked("humaneval", 2, n_samples=2) == 0
        assert asked("devign", 6) == 6
        assert asked("devign", 6, n_shot=1) == others, "other prompts under the same names"
        assert asked("devign", 6) == 0


@needs_data
def test_shards_make_one_whole(tmp_path: Path) -> None:
    model, words, task = tiny(), tokenizer(), TASKS.get("humanevalsynthesize-python")
    scoring, drawn = (
        Scoring(options=ScoreOptions(data_dir=GOLD, limit=2)),
        Decoding(n_samples=2, temperature=0.5, max_length=800),
    )

    def make(decoding: Decoding) -> Generator:
        return Generator(model, words, decoding.max_length, decoding.temperature)

    assert generate(task, scoring, make, tmp_path / "a", decoding=drawn, shard=(0, 2)) is None
    parts = generate(task, scoring, make, tmp_path / "a", decoding=drawn, shard=(1, 2))
    whole = generate(task, scoring, make, tmp_path / "b", decoding=drawn)
    assert parts
    assert whole
    assert parts.read_text() == whole.read_text()


@needs_data
@pytest.mark.promise("any model is generated from, executed and scored, and goes on")
@pytest.mark.parametrize("name", ["humanevalsynthesize-python", "recode-function"])
def test_generate_execute_score(name: str, tmp_path: Path) -> None:
    options = EvaluateOptions(data_dir=GOLD, limit=3, folder=tmp_path, n_samples=2, workers=1)
    model, task = TunedModel(tiny(), tokenizer(), 0, 700, DataSpec("none"), seed=1, options=options), TASKS.get(name)
    result = task.evaluate(model)
    assert result.n_items == 3
    assert len(result.samples) == 6
    assert {sample.verdict for sample in result.samples} <= {"failed", "passed", "timeout", "crashed"}
    assert result.scores[0].value == 0.0, "a random model solves nothing"
    assert result.isolation
    [answers] = (tmp_path / name).glob("*/answers-0-of-1.jsonl")
    assert len(answers.read_text().splitlines()) == 6
    assert (result.settings["temperature"], result.settings["seed"]) == (task.decoding().temperature, 1)
    assert TASKS.get(name).evaluate(model).scores == result.scores


ANSWERS: dict[str, str] = {}


@needs_data
def test_reference_answers_pass_through_the_whole_path(tmp_path: Path) -> None:
    """The prompt, post-processing and programs fit together: right answers, followed by chatter, score 1."""
    for name in ("humanevalsynthesize-python", "humanevalfix-python"):
        task, scoring = TASKS.get(name), Scoring(options=ScoreOptions(data_dir=GOLD, limit=20))
        ANSWERS.update({row["task_id"]: row["canonical_solution"] for row in task.gold(scoring)})

        class Oracle(Generator):
            def run(self, requests):
                for request in requests:
                    yield request, "\n" + ANSWERS[request.item_id] + "\ndef more():\n    pass\nprint(1)"

        path = generate(
            task, scoring, lambda d: Oracle(tiny(), tokenizer(), 10), tmp_path / name, decoding=Decoding(n_samples=1)
        )
        from astraios.evaluate.execute.engine import Engine

        with Engine(1) as engine:
            result = task.score(
                path, Scoring(options=ScoreOptions(data_dir=GOLD, limit=20), engine=lambda engine=engine: engine)
            )
        assert result.scores[0].value == 1.0, [s for s in result.samples if not s.value]


@pytest.mark.promise("one-shot prompts have the released form")
def test_the_command_asks_with_a_demonstration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--shots 1` draws from the train split by `--shot-seed`; the record says which row, and the answer is scored."""
    tiny().save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    rows = [{"id": 0, "func": "int f();", "target": 0}, {"id": 1, "func": "int g();", "target": 1}]
    (tmp_path / "devign.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = [{"func": f"int t{i}();", "target": i % 2} for i in range(50)]
    (tmp_path / "devign_train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
    asked: list[str] = []

    def answers(self, requests):
        asked.extend(request.text for request in requests)
        yield from ((request, " NO\n") for request in requests)

    monkeypatch.setattr(Generator, "run", answers)
    done = run_cli("evaluate", tmp_path / "model", "--method", "fft", "--base", "tiny/66k", "--size", "66k", "--task",
                   "devign", "--data", tmp_path, "--shots", 1, "--shot-seed", 3, "--db", tmp_path / "a.duckdb", "--out",
                   tmp_path / "runs", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [(row["value"], row["n_shot"]) for row in json.loads(done.stdout)] == [(0.5, 1), (0.5, 1)]
    found = run_cli("sql", "select settings from evaluation", "--format", "json", "--db", tmp_path / "a.duckdb")
    settings = json.loads(json.loads(found.stdout)[0]["settings"])
    drawn = settings["demonstration"]
    assert (drawn["seed"], settings["asked"]) == (3, {"n_shot": 1, "shot_seed": 3})
    question = "Is there a defect in the Code, and respond to YES or NO.\n\nAnswer:"
    shown = f" Question: int t{drawn['row']}();\n{question} {'YES' if drawn['row'] % 2 else 'NO'}\n\n{' ' * 22}"
    assert asked == [f"{shown}Question: int {name}();\n{question}" for name in "fg"]


@needs_data
@pytest.mark.promise("any model is generated from, executed and scored, and goes on")
def test_the_command_evaluates_any_model_and_goes_on(tmp_path: Path) -> None:
    """A folder that transformers wrote, an adapter on it, real problems: generated, executed, scored, recorded."""
    from peft import LoraConfig, get_peft_model

    tiny().save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    get_peft_model(tiny(), LoraConfig(target_modules=["c_attn"], r=2)).save_pretrained(tmp_path / "adapter")
    names = ("recode-function", "humanevalsynthesize-python")
    command = (
        "evaluate", tmp_path / "model", "--task", names[0], "--task", names[1], "--data", GOLD, "--samples", 1,
        "--batch", 32, "--dtype", "float32", "--out", tmp_path / "runs", "--db", tmp_path / "a.duckdb",
    )  # fmt: skip
    trial = run_cli(*command, "--limit", 3, "--json")
    assert trial.returncode == 0, trial.stderr
    assert "--limit makes it a trial" in trial.stderr
    metrics = {(row["task_id"], row["metric"]): row for row in json.loads(trial.stdout)}
    assert metrics["humanevalsynthesize-python", "pass@1"]["n"] == 3
    assert not (tmp_path / "a.duckdb").exists()
    with pytest.MonkeyPatch.context() as patch:  # the whole path with its record, on as few problems
        for name in names:
            gold = type(TASKS.get(name)).gold
            patch.setattr(type(TASKS.get(name)), "gold", lambda self, scoring, gold=gold: gold(self, scoring)[:3])
        adapted = run_cli(*command, "--adapter", tmp_path / "adapter", "--base", "1B", "--json")
        assert adapted.returncode == 0, adapted.stderr
        again = run_cli(*command, "--adapter", tmp_path / "adapter", "--base", "1B", "--json")
    assert again.stdout == adapted.stdout
    query = (
        "select r.method_id, r.model_id, s.task_id, s.metric, s.n from score s join run r using (run_id) order by all"
    )
    found = json.loads(run_cli("sql", query, "--format", "json", "--db", tmp_path / "a.duckdb").stdout)
    assert {(row["method_id"], row["model_id"]) for row in found} == {("lora", "bigcode/starcoderbase-1b")}
    assert ("humanevalsynthesize-python", "pass@1", 3) in {(r["task_id"], r["metric"], r["n"]) for r in found}


@pytest.mark.promise("what can't be scored is said in one line")
def test_bad_models_adapters_and_engines_are_one_line(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "model")
    (tmp_path / "adapter").mkdir()
    common = ("--dry-run", "--out", tmp_path / "runs", "--data", tmp_path)
    word = run_cli("evaluate", tmp_path / "model", "--task", "devign", *common)
    assert_one_line(word, 1, "can't be loaded")
    assert_one_line(run_cli("evaluate", tmp_path / "no", "--task", "devign", *common), 2, "unknown base model")
    assert_one_line(run_cli("evaluate", tmp_path / "model", "--task", "devin", *common), 2, "did you mean 'devign'")
    tokenizer().save_pretrained(tmp_path / "model")
    untold = run_cli("evaluate", tmp_path / "model", "--task", "devign", "--db", tmp_path / "a.duckdb")
    assert_one_line(untold, 2, "does not say its tuning method.*--method.*--dry-run")
    before = identity(Subject(model=str(tmp_path / "model")))
    os.utime(tmp_path / "model" / "config.json", ns=(1, 1))
    assert identity(Subject(model=str(tmp_path / "model"))) != before, "answers of other weights are not taken up"
    odd = run_cli("evaluate", tmp_path / "model", "--task", "devign", "--adapter", tmp_path / "adapter", *common)
    assert_one_line(odd, 1, "holds no adapter")
    engine = run_cli("evaluate", tmp_path / "model", "--task", "devign", "--engine", "vlm", *common)
    assert_one_line(engine, 2, "did you mean 'vllm'")
    bare = run_cli("evaluate", tmp_path / "model", "--task", "perplexity", *common)
    assert_one_line(bare, 2, "--records")
    with pytest.raises(CellError, match="needs the model's tokenizer"):
        Generator(tiny(), None, 10)
    assert load(Subject(model=str(tmp_path / "model"), dtype="float32", device="cpu")).n_positions == 2048


def test_vllm_is_asked_for_samples_with_seeds_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package, which needs a GPU: what it is asked, and what becomes of its answers."""
    asked: list[tuple] = []

    class LLM:
        def __init__(self, model: str, **options: object) -> None:
            asked.append((model, options))

        llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=100))

        def get_tokenizer(self):
            return tokenizer()

        def generate(self, prompts, settings, lora_request=None, use_tqdm=True):
            asked.extend(zip(prompts, settings, [lora_request] * len(prompts), strict=True))
            said = [f"{one.seed}\ndef more" if number else f"{one.seed}" for number, one in enumerate(settings)]
            return [
                SimpleNamespace(
                    outputs=[
                        SimpleNamespace(text=text, finish_reason="stop", stop_reason="\ndef" if "def" in text else None)
                    ]
                )
                for text in said
            ]

    stand_in = SimpleNamespace(LLM=LLM, SamplingParams=lambda **fields: SimpleNamespace(**fields))
    monkeypatch.setitem(sys.modules, "vllm", stand_in)
    monkeypatch.setitem(sys.modules, "vllm.lora", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm.lora.request", SimpleNamespace(LoRARequest=lambda *a: a))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 12}))
    server = vllm.Server("some/model", tmp_path, seed=7)
    assert asked.pop() == ("some/model", {"enable_lora": True, "max_lora_rank": 16})
    wanted = [Request("a", k, "x" * 200, ("\ndef",)) for k in range(3)]
    found = list(server.generator(Decoding(n_samples=3, temperature=0.2, max_length=100)).run(wanted))
    assert [request for request, _ in found] == wanted
    assert len({answer for _, answer in found}) == 3, "three seeds"
    assert [answer.lstrip("0123456789") for _, answer in found] == [END, "\ndef", "\ndef"], "and how each ended"
    prompt, settings, lora = asked[0]
    assert (len(prompt["prompt_token_ids"]), settings.max_tokens) == (99, 1), "cut on the left, a token of answer"
    assert settings.include_stop_str_in_output
    assert (settings.n, settings.temperature, settings.top_p, settings.stop) == (1, 0.2, 0.95, ["\ndef"])
    assert lora[2] == str(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, "use_dora": True}))
    with pytest.raises(CellError, match="does not apply LoRA with use_dora"):
        vllm.Server("some/model", tmp_path)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtraError, match="vllm"):
        vllm.Server("some/model")


def test_tasks_without_prompts_say_so() -> None:
    with pytest.raises(UsageError, match="no prompts to generate from"):
        TASKS.get("perplexity").prompts(Scoring())


@pytest.mark.parametrize("kind", ["fft", "ptuning"])
def test_perplexity_is_the_exponential_of_the_mean_loss(kind: str) -> None:
    from astraios.data.sources import Record

    records = [Record(f"Add {i}.", f"x = {i} + {i}") for i in range(4)]
    words = tokenizer()
    result = TASKS.get("perplexity").evaluate(
        TunedModel(tuned(kind).eval(), words, 5 if kind == "ptuning" else 0, 200, DataSpec("none"), records)
    )
    by_name = {score.metric: score for score in result.scores}
    assert by_name["perplexity"].value == pytest.approx(2.718281828 ** by_name["nats_per_token"].value)
    assert 200 < by_name["perplexity"].value < 320, "a random model of 257 tokens"
    # One token is one byte here; the end-of-text token of each answer has none.
    assert result.settings["tokens"] - result.settings["bytes"] in (0, 4, 4 * 13)
    assert by_name["perplexity"].ci_low < by_name["perplexity"].value < by_name["perplexity"].ci_high


def beginning_with(tokens: str) -> object:
    """The same tokenizer, with `<s>` in front of every text and perhaps an end behind it."""
    from tokenizers.processors import TemplateProcessing

    words = tokenizer()
    words.add_special_tokens({"bos_token": "<s>"})
    ids = [("<s>", words.bos_token_id), ("<|endoftext|>", 0)]
    words.backend_tokenizer.post_processor = TemplateProcessing(single=tokens, special_tokens=ids)
    return words


@pytest.mark.parametrize("template", ["<s> $A", "<s> $A <|endoftext|>"])
def test_prompts_begin_as_every_text_of_the_tokenizer_does(template: str) -> None:
    words = beginning_with(template)
    bare = tokenizer()("def f(x):")["input_ids"]
    assert encode(words, "def f(x):", 100) == [words.bos_token_id, *bare]
    assert encode(words, "def f(x):", 5) == [words.bos_token_id, *bare[-4:]], "cut behind the beginning"
    assert encode(tokenizer(), "def f(x):", 100) == bare


def test_a_scored_answer_has_no_beginning_of_its_own() -> None:
    from astraios.data.sources import Record
    from astraios.evaluate.tasks.next_token import encode_records

    words = beginning_with("<s> $A")
    model = TunedModel(None, words, 0, 200, DataSpec("none"))
    [head], [ids] = encode_records(model, [Record("q", "answer")])
    assert ids.count(words.bos_token_id) == 1
    assert ids[0] == words.bos_token_id
    assert words.decode(ids[head:]) == "answer"
