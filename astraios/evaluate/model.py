"""Scores a model that need not have been tuned here, on any task: the work behind `astraios evaluate`."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from astraios.data.packing import DataSpec
from astraios.data.sources.table import read_records
from astraios.errors import CellError, UsageError, did_you_mean
from astraios.evaluate.generate.fleet import Fleet
from astraios.evaluate.generate.vllm import Server, adapter_rank
from astraios.evaluate.options import ENGINES, EvaluateOptions, Subject
from astraios.evaluate.tasks import TASKS, TunedModel
from astraios.models.counting import count_parameters
from astraios.models.devices import allow_tf32, found_device, has_bfloat16
from astraios.models.ladders import positions, resolve
from astraios.models.methods import METHODS, recognise
from astraios.models.quantized import keep_precision
from astraios.records import TaskResult


def pinned(subject: Subject) -> tuple[str, str | None]:
    """Hub id, folder or ladder's name of the model, and the commit of the hub that is taken; None for none, or where
    nobody can tell.

    Raises:
        UsageError: no such model or revision, or a revision of what does not come from the hub.
    """
    ladder, rung = resolve(subject.model)
    if not ladder.has_revisions(rung.model_id):
        if subject.revision:
            raise UsageError(f"--revision {subject.revision}: {subject.model} does not come from the hub")
        return rung.model_id, None
    if subject.revision and rung.revision not in (None, subject.revision):
        raise UsageError(f"--revision {subject.revision}: {subject.model} names another one")
    asked = subject.revision or rung.revision
    return rung.model_id, ladder.revision(f"{rung.model_id}@{asked}" if asked else rung.model_id)


def is_named(subject: Subject) -> bool:
    """Whether whoever asks leaves open which revision of a model of the hub it is."""
    return subject.revision is None and resolve(subject.model)[1].revision is None


def identity(subject: Subject, commit: str | None = None) -> str:
    """Hash of what answers: the model's name and commit, its files where it is a folder (name, size, time of change),
    the adapter's content, and how they are run."""
    parts = [json.dumps([subject.model, engine_of(subject), subject.dtype, subject.quantization]).encode()]
    if Path(subject.model).is_dir():
        files = [(path.name, path.stat()) for path in sorted(Path(subject.model).iterdir()) if path.is_file()]
        parts += [json.dumps([name, facts.st_size, facts.st_mtime_ns]).encode() for name, facts in files]
    parts += [commit.encode()] if commit else []
    if subject.adapter:
        parts += [path.read_bytes() for path in sorted(subject.adapter.glob("adapter_*")) if path.is_file()]
    return hashlib.sha256(b"\n".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def tuning_method(subject: Subject) -> tuple[str, dict[str, Any]] | None:
    """The tuning method that an adapter's folder tells of and its settings; None where it does not say.

    Raises:
        CellError: no adapter there.
    """
    return (
        recognise({**_base_quantization(subject.model), **_adapter_config(subject.adapter)})
        if subject.adapter
        else None
    )


def _adapter_config(adapter: Path) -> dict[str, Any]:
    try:
        config = json.loads((adapter / "adapter_config.json").read_text())
    except (OSError, ValueError):
        raise CellError(f"{adapter} holds no adapter: it needs an adapter_config.json that can be read") from None
    return config if isinstance(config, dict) else {}


def _base_quantization(model: str) -> dict[str, Any]:
    """`quantization_config` of a model that lies in a folder and is quantized there; how it is loaded says nothing
    about how it was tuned."""
    try:
        config = json.loads((Path(model) / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    told = config.get("quantization_config") if isinstance(config, dict) else None
    return {"quantization_config": told} if told else {}


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
    return count_parameters(ladder.config(model), fft, fft.with_defaults({})).n_params


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
    allow_tf32()
    model_id, commit = pinned(subject)
    ladder, _ = resolve(model_id)
    ladder.prepare(model_id)
    device = subject.device or found_device()
    model, tokenizer = ladder.load(
        f"{model_id}@{commit}" if commit else model_id,
        quantization=subject.quantization,
        dtype=_dtype(subject.dtype, device),
        device=device,
        trust_remote_code=subject.trust_remote_code,
    )
    tuned, n_virtual = (model, 0) if subject.adapter is None else _adapted(model, subject.adapter)
    held_out = read_records(subject.records) if subject.records else ()
    return TunedModel(
        tuned.eval(), tokenizer, n_virtual, positions(model.config) - n_virtual, DataSpec("none"), held_out,
        subject.seed,
    )  # fmt: skip


def _dtype(asked: str, device: str) -> str:
    """bfloat16 on a GPU that has it, whatever the files hold (StarCoderBase's hold float32, twice the size and some ten
    times as slow); what the files hold on a CPU."""
    return "bfloat16" if asked == "auto" and device.startswith("cuda") and has_bfloat16() else asked


def _served(subject: Subject) -> TunedModel:
    """The model behind vLLM, here or on a Ray cluster."""
    if subject.ray and subject.engine == "transformers":
        raise UsageError("--ray runs vLLM engines: leave --engine transformers away")
    if subject.quantization:
        raise UsageError(f"--quantization {subject.quantization}: choose --engine transformers")
    model_id, commit = pinned(subject)
    ladder, _ = resolve(model_id)
    ladder.prepare(model_id)
    source = ladder.source(model_id)
    if source is None:
        raise UsageError(f"{subject.model} lies in no folder that vLLM could read: choose --engine transformers")
    arguments = (source[0], subject.adapter, subject.seed)
    options: dict[str, Any] = {"trust_remote_code": subject.trust_remote_code, "dtype": subject.dtype}
    if commit:
        options |= {"revision": commit, "tokenizer_revision": commit}
    if subject.tensor_parallel < 1:
        raise UsageError(f"--tensor-parallel {subject.tensor_parallel}: must be at least 1")
    if subject.tensor_parallel > 1:
        options["tensor_parallel_size"] = subject.tensor_parallel
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
        seed=subject.seed, generator=server.generator, engine="vllm",
    )  # fmt: skip


def _adapted(model: Any, adapter: Path) -> tuple[Any, int]:
    from peft import PeftModel

    from astraios.models import bottleneck  # noqa: F401 (makes PEFT know the three adapters)

    _adapter_config(adapter)
    try:
        tuned = keep_precision(PeftModel.from_pretrained(model, str(adapter)))
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


def evaluate(tuned: TunedModel, task: str, options: EvaluateOptions | None = None) -> TaskResult:
    """Scores one task, with these options instead of the model's.

    Raises:
        UsageError: unknown task, or one that needs the model's own likelihoods behind an engine that has none.
        DataError: the gold data can't be had.
    """
    chosen = TASKS.get(task)
    if tuned.model is None and not chosen.from_generations:
        raise UsageError(f"task {task!r} needs the model itself: choose --engine transformers")
    return chosen.evaluate(replace(tuned, options=options) if options else tuned)
