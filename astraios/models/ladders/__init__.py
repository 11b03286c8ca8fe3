"""Ladders of base models: families in several sizes. A ladder is registered by being a module-level `Ladder`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astraios.errors import UsageError, did_you_mean
from astraios.registry import Registry

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One base model of a ladder."""

    model_id: str
    """Hub id, or ladder/name for a base that astraios builds itself."""
    ladder: str
    """Name of its ladder."""
    name: str = ""
    """Short name, for instance "1B"."""
    aliases: tuple[str, ...] = ()
    """Other short names that people give it."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Architecture: fields of the configuration, `model_type` among them. Empty where only the hub knows them."""
    architecture: str | None = None
    """Class of the model, for instance GPTBigCodeForCausalLM; None where only the hub knows it."""
    n_params: int | None = None
    """Total parameters, where they are known without building the model."""
    n_params_nonembedding: int | None = None
    """Without token and position embeddings, likewise."""
    revision: str | None = None
    """Hub revision, or a hash of the recipe of a base built here. None: the hub's newest."""


class Ladder:
    """A family of base models. Subclasses give `name`, `rungs` and, unless the hub has them, `load`."""

    name: str

    def rungs(self) -> tuple[Rung, ...]:
        """All its base models, from small to large."""
        raise NotImplementedError

    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Short name and parameters of each rung whose size is known without building the model."""
        return tuple((rung.name, rung.n_params) for rung in self.rungs() if rung.n_params)

    def find(self, model_id: str) -> Rung | None:
        """The rung with this id, short name ("1B") or ladder/name, or None."""
        for rung in self.rungs():
            names = [name for name in (rung.name, *rung.aliases) if name]
            short = {spelling.lower() for name in names for spelling in (name, f"{self.name}/{name}")}
            if model_id == rung.model_id or model_id.lower() in short:
                return rung
        return None

    def config(self, model_id: str) -> PretrainedConfig:
        """The configuration of a base model, without its weights and without a network where the ladder knows it.

        Raises:
            UsageError: the ladder has no such model.
        """
        from transformers import AutoConfig

        fields = dict(self._rung(model_id).config)
        return AutoConfig.for_model(fields.pop("model_type"), **fields)

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
        """The base model in evaluation mode and its tokenizer.

        Args:
            model_id: as `find` takes it.
            quantization: None, "8bit" or "nf4".
            dtype: "float32", "bfloat16", "float16" or "auto" (the checkpoint's): of all that isn't quantized.
            device: torch device.
            trust_remote_code: run code that the model's repository brings.
            attention: attention implementation of transformers: "sdpa", "flash_attention_2", "eager"; None: its choice.

        Raises:
            CellError: it can't be fetched or loaded, or not as asked.
            MissingExtraError: quantization needs a package that isn't there.
        """
        raise NotImplementedError

    def source(self, model_id: str) -> tuple[str, str | None] | None:
        """What another program loads a base that is ready by: a folder or a hub id, and the hub's revision where one is
        named; None where the ladder alone can load it."""
        return None

    def has_revisions(self, model_id: str) -> bool:
        """Whether the base comes from the hub, where organisation/name@revision names one revision of it."""
        return False

    def revision(self, model_id: str) -> str | None:
        """What tells the base from others of its name: a commit of the hub where it is known which, a hash of the
        recipe of a base that is built here; None where only `weights` tells."""
        return self._rung(model_id).revision

    def weights(self, model_id: str) -> str | None:
        """Hash of the base's files, where neither its id nor its revision says which they are: in a local folder."""
        return None

    def load_bare(
        self, model_id: str, *, dtype: str = "float32", trust_remote_code: bool = False, attention: str | None = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The same on torch's meta device, without weights: for a process that gets its share of them from another.

        A ladder that does not know how gives the whole model, which costs main memory and nothing else.

        Raises:
            CellError: the configuration or the tokenizer can't be had.
        """
        return self.load(model_id, dtype=dtype, trust_remote_code=trust_remote_code, attention=attention)

    def is_ready(self, model_id: str) -> bool:
        """Whether the base can be loaded as it is; False where `prepare` must build it first."""
        return True

    def prepare(self, model_id: str, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Builds a base that is not ready; `progress` is told steps done and steps in all."""

    def _rung(self, model_id: str) -> Rung:
        rung = self.find(model_id)
        if rung is None:
            known = [rung.model_id for rung in self.rungs()]
            raise UsageError(f"ladder {self.name!r} has no base model {model_id!r}: {did_you_mean(model_id, known)}")
        return rung


LADDERS: Registry[Ladder] = Registry(Ladder, "astraios.models.ladders", "ladder", group="astraios.ladders")

_LAST = "hub"


def resolve(model_id: str) -> tuple[Ladder, Rung]:
    """The ladder that a base model belongs to, and its rung.

    Named ladders come first; any other hub id (organisation/name) or local directory belongs to the ladder "hub".

    Raises:
        UsageError: no ladder knows it, and it is neither a hub id nor a directory with a model.
    """
    for ladder in sorted(LADDERS, key=lambda one: (one.name == _LAST, one.name)):
        rung = ladder.find(model_id)
        if rung is not None:
            return ladder, rung
    known = [rung.name or rung.model_id for ladder in LADDERS for rung in ladder.rungs()]
    raise UsageError(
        f"unknown base model {model_id!r}: {did_you_mean(model_id, known)}; or a hub id (organisation/name), or a "
        "directory with a config.json"
    )


def positions(config: Any) -> int:
    """Longest sequence that an architecture reads."""
    found = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return int(found or 1 << 30)
