"""Any causal language model of the hub, or of a local directory."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import hub
from astraios.errors import CellError, MissingExtraError, UsageError
from astraios.models.ladders import Ladder, Rung
from astraios.models.quiet import hush
from astraios.models.weights import weights_hash

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

QUANTIZATIONS = ("8bit", "nf4")


class HubLadder(Ladder):
    """Base models by hub id ("organisation/name", "organisation/name@revision") or local directory."""

    name = "hub"

    def rungs(self) -> tuple[Rung, ...]:
        return ()

    def find(self, model_id: str) -> Rung | None:
        source, _, revision = model_id.partition("@")
        if (Path(model_id) / "config.json").is_file():
            return Rung(model_id=model_id, ladder=self.name)
        parts = source.split("/")
        if len(parts) == 2 and all(parts) and not source.startswith((".", "~")) and not Path(source).exists():
            return Rung(model_id=source, ladder=self.name, revision=revision or None)
        return None

    def _named(self, model_id: str) -> Rung | None:
        """The rung of a ladder that knows its rungs, at the revision that stands behind an @."""
        name, _, revision = model_id.partition("@")
        rung = super().find(name)
        return dataclasses.replace(rung, revision=revision) if rung and revision else rung

    def source(self, model_id: str) -> tuple[str, str | None]:
        rung = self._rung(model_id)
        return rung.model_id, rung.revision

    def has_revisions(self, model_id: str) -> bool:
        return not (Path(model_id) / "config.json").is_file()

    def revision(self, model_id: str) -> str | None:
        rung = self._rung(model_id)
        return (hub.commit(rung.model_id, rung.revision) or rung.revision) if self.has_revisions(model_id) else None

    def config(self, model_id: str, *, trust_remote_code: bool = False) -> PretrainedConfig:
        """The configuration: what the rung says, else what the hub or the directory says.

        Raises:
            UsageError: there is no such model.
            CellError: the hub can't be reached.
        """
        rung = self._rung(model_id)
        if rung.config:
            return super().config(model_id)
        from transformers import AutoConfig

        with _explained(rung.model_id, "configuration"):
            return AutoConfig.from_pretrained(
                rung.model_id,
                revision=rung.revision,
                trust_remote_code=trust_remote_code,
                local_files_only=hub.no_network(),
            )

    def weights(self, model_id: str) -> str | None:
        folder = Path(self._rung(model_id).model_id)
        if not (folder / "config.json").is_file():
            return None
        try:
            return weights_hash(folder)
        except OSError as error:
            raise CellError(f"base model {model_id!r}: a file can't be read ({error})") from None

    def load(
        self,
        model_id: str,
        *,
        quantization: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        trust_remote_code: bool = False,
        attention: str | None = None,
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        rung = self._rung(model_id)
        return load_pretrained(
            rung.model_id,
            revision=rung.revision,
            quantization=quantization,
            dtype=dtype,
            device=device,
            trust_remote_code=trust_remote_code,
            attention=attention,
        )

    def load_bare(
        self, model_id: str, *, dtype: str = "float32", trust_remote_code: bool = False, attention: str | None = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        rung = self._rung(model_id)
        return bare_pretrained(
            rung.model_id,
            revision=rung.revision,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            attention=attention,
        )


def bare_pretrained(
    source: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    attention: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """What `load_pretrained` gives, on torch's meta device: only its configuration and tokenizer are read."""
    hush()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    common = {"revision": revision, "trust_remote_code": trust_remote_code, "local_files_only": hub.no_network()}
    extra: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    with _explained(source, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
    with _explained(source, "configuration"):
        config = AutoConfig.from_pretrained(source, **common)
    with _explained(source, "model"), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code, **extra
        )
    return model.eval(), tokenizer


def load_pretrained(
    source: str,
    *,
    revision: str | None = None,
    quantization: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    trust_remote_code: bool = False,
    attention: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in evaluation mode and its tokenizer, from a hub id or a directory; arguments as `Ladder.load` has them.

    Raises:
        CellError: it can't be fetched or loaded, or not as asked.
        MissingExtraError: quantization needs a package that isn't there.
    """
    hush()
    quantized = quantization_config(quantization, dtype)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    common: dict[str, Any] = {
        "revision": revision,
        "trust_remote_code": trust_remote_code,
        "local_files_only": hub.no_network(),
    }
    extra: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    if quantized is not None:
        extra |= {"quantization_config": quantized, "device_map": {"": device}}
    with _explained(source, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
    with _explained(source, "model"):
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **common, **extra)
    if quantization == "nf4":
        # In evaluation bitsandbytes repacks weights on CPUs with AVX512-BF16, and training after that fails.
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
    if quantized is None:
        model.to(torch.device(device))  # type: ignore[arg-type]
    return model.eval(), tokenizer


def quantization_config(quantization: str | None, dtype: str = "float32") -> BitsAndBytesConfig | None:
    """How bitsandbytes is to quantize: None, "8bit" (LLM.int8) or "nf4" (QLoRA's, with double quantization).

    Raises:
        UsageError: another name.
        MissingExtraError: bitsandbytes isn't there.
        CellError: it is there and does not work.
    """
    if not quantization:
        return None
    if quantization not in QUANTIZATIONS:
        raise UsageError(f"unknown train.quantization {quantization!r}: known: {', '.join(QUANTIZATIONS)}, or none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "train", f"train.quantization = {quantization!r}")
    try:
        import bitsandbytes  # noqa: F401
        import torch
        from transformers import BitsAndBytesConfig
    except (ImportError, RuntimeError, OSError) as error:
        line = str(error).splitlines()[0]
        raise CellError(
            f"train.quantization = {quantization!r} can't be had, bitsandbytes does not load: {line}; "
            'set train.quantization = "none"'
        ) from error
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = torch.float32 if dtype in ("float32", "auto") else getattr(torch, dtype)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


class _explained:  # noqa: N801
    """Turns what transformers and the hub raise into one line that says what to do."""

    def __init__(self, source: str, part: str) -> None:
        self.source, self.part = source, part

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, Exception):
            return
        text = str(error) or type(error).__name__
        line = text.splitlines()[0].strip().rstrip(".:")
        if "attn_implementation" in text or "flash" in text.lower():
            raise CellError(
                f'[train] attention can\'t be had for {self.source!r}: {line}; "sdpa" needs nothing'
            ) from error
        if "out of memory" in text.lower():
            raise CellError(
                f'base model {self.source!r} does not fit the device\'s memory: set train.quantization = "8bit" or '
                '"nf4", or a smaller train.dtype'
            ) from error
        if "trust_remote_code" in text:
            raise CellError(
                f"base model {self.source!r} brings code of its own: read it, then set trust_remote_code = true"
            ) from error
        if Path(self.source).is_dir():
            wanted = "; its files must be there beside the weights" if self.part == "tokenizer" else ""
            raise CellError(f"the {self.part} in {self.source} can't be loaded: {line}{wanted}") from error
        if "gated" in text.lower() or "401" in text or "403" in text:
            raise CellError(
                f"base model {self.source!r} is gated or private: accept its terms on the hub, then log in"
            ) from error
        raise CellError(
            f"base model {self.source!r} can't be loaded from the hub: {line}; check its id and the network, or give "
            "a local directory"
        ) from error


LADDER = HubLadder()
