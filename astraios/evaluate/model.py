"""Scores a model that need not have been tuned here, on any task: the work behind `astraios evaluate`."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astraios.data.packing import DataSpec
from astraios.data.sources.table import read_records
from astraios.errors import CellError, UsageError, did_you_mean
from astraios.evaluate.generate.fleet import Fleet
from astraios.evaluate.generate.vllm import Server, adapter_rank
from astraios.evaluate.tasks import TASKS, TunedModel
from astraios.models.counting import count_parameters
from astraios.models.ladders import positions, resolve
from astraios.models.methods import METHODS
from astraios.records import TaskResult

ENGINES = ("auto", "transformers", "vllm")
ADAPTERS = {
    "LORA": "lora",
    "IA3": "ia3",
    "P_TUNING": "ptuning",
    "PROMPT_TUNING": "prompt",
    "ADALORA": "adalora",
    "OFT": "oft",
    "BOFT": "boft",
    "VERA": "vera",
    "LN_TUNING": "ln",
}
"""Tuning method by the type that PEFT writes into an adapter; other adapters need the method named."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model to be scored, and how."""

    model: str
    """Hub id, folder, or a base model of a ladder."""
    adapter: Path | None = None
    """Folder of a PEFT adapter."""
    engine: str = "auto"
    """transformers, vllm, or auto: vLLM where it is installed, a GPU is there, and the adapter allows it."""
    ray: str | None = None
    """Address of a Ray cluster (HOST:PORT, auto, or here to start one) whose machines run the vLLM engines."""
    engines: int = 1
    """vLLM engines on it."""
    device: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    trust_remote_code: bool = False
    seed: int = 0
    records: Path | None = None
    """Held-out instruction data (JSONL or Parquet with prompt and completion), for perplexity."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the tasks: data_dir, n_samples, limit, language_level, nominal, batch, folder, ..."""

    @property
    def identity(self) -> str:
        """Hash of what answers: the model's name, its files where it is a folder (name, size, time of change), the
        adapter's content, and how they are run."""
        parts = [json.dumps([self.model, engine_of(self), self.dtype, self.quantization]).encode()]
        if Path(self.model).is_dir():
            files = [(path.name, path.stat()) for path in sorted(Path(self.model).iterdir()) if path.is_file()]
            parts += [json.dumps([name, facts.st_size, facts.st_mtime_ns]).encode() for name, facts in files]
        if self.adapter:
            parts += [path.read_bytes() for path in sorted(self.adapter.glob("adapter_*")) if path.is_file()]
        return hashlib.sha256(b"\n".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def tuning_method(adapter: Path | None) -> str | None:
    """Identifier of the tuning method that an adapter's folder tells of; None where it does not say.

    Raises:
        CellError: no adapter there.
    """
    if adapter is None:
        return None
    try:
        config = json.loads((adapter / "adapter_config.json").read_text())
    except (OSError, ValueError):
        raise CellError(f"{adapter} holds no adapter: it needs an adapter_config.json that can be read") from None
    return ADAPTERS.get(str(config.get("peft_type")))


def model_size(model: str) -> int:
    """Total parameters of a base model, from its ladder or else counted from its configuration.

    Raises:
        UsageError: no such model.
        CellError: its configuration can't be had.
    """
    ladder, rung = resolve(model)
    if rung.n_params is not None:
        return rung.n_params
    fft = METHODS.get("fft")
    return count_parameters(ladder.config(rung.model_id), fft, fft.with_defaults({})).n_params


def load(subject: Subject) -> TunedModel:
    """The model as tasks meet it.

    Raises:
        UsageError: no such model or engine.
        CellError: it can't be loaded, or the engine can't run it.
        MissingExtraError: a package that it needs is not installed.
    """
    if subject.engine not in ENGINES:
        raise UsageError(f"--engine {subject.engine!r}: {did_you_mean(subject.engine, ENGINES)}")
    if engine_of(subject) == "vllm":
        return _served(subject)
    import torch

    ladder, rung = resolve(subject.model)
    ladder.prepare(rung.model_id)
    model, tokenizer = ladder.load(
        rung.model_id,
        quantization=subject.quantization,
        dtype=subject.dtype,
        device=subject.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        trust_remote_code=subject.trust_remote_code,
    )
    tuned, n_virtual = (model, 0) if subject.adapter is None else _adapted(model, subject.adapter)
    held_out = read_records(subject.records) if subject.records else ()
    return TunedModel(
        tuned.eval(), tokenizer, n_virtual, positions(model.config) - n_virtual, DataSpec("none"), held_out,
        subject.seed, subject.options,
    )  # fmt: skip


def _served(subject: Subject) -> TunedModel:
    """The model behind vLLM, here or on a Ray cluster."""
    if subject.ray and subject.engine == "transformers":
        raise UsageError("--ray runs vLLM engines: leave --engine transformers away")
    if subject.quantization:
        raise UsageError(f"--quantization {subject.quantization}: choose --engine transformers")
    arguments = (subject.model, subject.adapter, subject.seed)
    options: dict[str, Any] = {"trust_remote_code": subject.trust_remote_code, "dtype": subject.dtype}
    tokenizer = None
    server: Server | Fleet
    if subject.ray:
        server = Fleet(*arguments, address=subject.ray, engines=subject.engines, device=subject.device, **options)
        longest = server.longest
    else:
        server = Server(*arguments, **options)
        tokenizer, longest = server.model.get_tokenizer(), server.length()
    return TunedModel(
        None, tokenizer, 0, longest, DataSpec("none"),
        seed=subject.seed, options=subject.options, generator=server.generator,
    )  # fmt: skip


def _adapted(model: Any, adapter: Path) -> tuple[Any, int]:
    from peft import PeftModel

    from astraios.models import bottleneck  # noqa: F401 (makes PEFT know the three adapters)

    tuning_method(adapter)
    try:
        tuned = PeftModel.from_pretrained(model, str(adapter))
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise CellError(f"{adapter} does not fit the model: {str(error).splitlines()[0]}") from None
    config = tuned.active_peft_config
    return tuned, int(config.num_virtual_tokens) if config.is_prompt_learning else 0


def engine_of(subject: Subject) -> str:
    """The engine that answers: transformers or vllm, chosen where it is left to us."""
    if subject.engine != "auto":
        return "vllm" if subject.ray else subject.engine
    return "vllm" if subject.ray or _vllm_can(subject) else "transformers"


def _vllm_can(subject: Subject) -> bool:
    if importlib.util.find_spec("vllm") is None or subject.quantization:
        return False
    import torch

    if not torch.cuda.is_available():
        return False
    if subject.adapter:
        try:
            adapter_rank(subject.adapter)
        except CellError:
            return False
    return True


def check(subject: Subject, tasks: Sequence[str]) -> None:
    """Refuses what can't be scored, before a model is loaded for it.

    Raises:
        UsageError: unknown task, or one that lacks its held-out data or the model's own likelihoods.
    """
    for name in tasks:
        if TASKS.get(name).from_generations:
            continue
        if not subject.records:
            raise UsageError(f"task {name!r} reads held-out data: name a file of them with --records")
        if subject.ray or subject.engine == "vllm":
            raise UsageError(f"task {name!r} needs the model itself: choose --engine transformers, without --ray")


def evaluate(tuned: TunedModel, task: str) -> TaskResult:
    """Scores one task.

    Raises:
        UsageError: unknown task, or one that needs the model's own likelihoods behind an engine that has none.
        DataError: the gold data can't be had.
    """
    chosen = TASKS.get(task)
    if tuned.model is None and not chosen.from_generations:
        raise UsageError(f"task {task!r} needs the model itself: choose --engine transformers")
    return chosen.evaluate(tuned)
