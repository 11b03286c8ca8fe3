"""Tuning methods, one file each. A method is registered by being a module-level `TuningMethod`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.errors import CellError, UsageError
from astraios.models.quantized import keep_precision
from astraios.records import TuningMethodRow
from astraios.registry import Registry
from astraios.settings import Rule, as_setting, check, rule_of_type
from astraios.train.memory import Working

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class TuningMethod:
    """A way of adapting a base model; the fields are the paper's settings, the sweep may override them.

    A subclass builds the PEFT configuration (`peft_config`); everything else is shared.
    """

    name: str
    """Identifier in the database and on the command line, for instance "lora"."""
    title: str
    """Name as printed in charts and tables, for instance "LoRA"."""
    kind: str
    """full, low-rank, prompt, adapter, scaling or other."""
    citation: str
    learning_rate: float = 1e-4
    """Peak learning rate in the paper's setting."""
    quantization: str | None = "8bit"
    """Default precision of the frozen base: None, "8bit" or "nf4"."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of what the sweep may set under [method.NAME]: rank, alpha, target_modules, ..."""
    trained_bytes: int = 16
    """Bytes that training holds of each parameter: in float32 itself, its gradient and AdamW's two moments."""
    quantizable: bool = True
    """Whether it works over a quantized base."""
    peft_type: ClassVar[str] = ""
    """Type of its adapters as PEFT spells it, for instance "LORA"; empty where it makes none."""
    peft_names: ClassVar[Mapping[str, str]] = {}
    """PEFT's names of the settings."""

    def recognises(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The settings that an adapter's configuration states, where the adapter is of this method; else None.

        Args:
            config: content of PEFT's adapter_config.json, and transformers' `quantization_config` of the base where
                that is known.
        """
        if not self.peft_type or adapter_type(config) != self.peft_type:
            return None
        return {name: config[theirs] for name, theirs in self.peft_names.items() if theirs in config}

    def describe(self) -> TuningMethodRow:
        """The row of the table `tuning_method`."""
        return TuningMethodRow(method_id=self.name, title=self.title, kind=self.kind, citation=self.citation)

    def with_defaults(self, overrides: Mapping[str, Any], besides: Iterable[str] = ()) -> dict[str, Any]:
        """The method's settings with the sweep's in place of the defaults.

        Args:
            overrides: settings by name.
            besides: other names that a wrong one may have meant.

        Raises:
            UsageError: an override names no setting of this method, or has a value of the wrong kind.
        """
        unknown = f"tuning method {self.name!r} has no setting"
        check(self.rules, overrides, f"method.{self.name}.", besides=besides, unknown=unknown)
        given = {name: as_setting(self.rules[name], value) for name, value in overrides.items()}
        return {**self.settings, **given}

    @property
    def rules(self) -> dict[str, Rule]:
        """What each of its settings may hold."""
        return {name: _rule(name, default) for name, default in self.settings.items()}

    def n_virtual_tokens(self, settings: Mapping[str, Any]) -> int:
        """Positions that the method puts in front of every sequence, and so in front of the logits."""
        return 0

    def check(
        self,
        base: PretrainedConfig,
        settings: Mapping[str, Any],
        steps: int,
        *,
        sequence_length: int | None = None,
        quantization: str | None = None,
    ) -> None:
        """Reject, before anything is loaded, what can't be trained.

        Args:
            base: configuration of the base model.
            settings: as `with_defaults` gives them.
            steps: optimizer steps planned.
            sequence_length: tokens in a block, without virtual tokens.
            quantization: precision asked for the base.

        Raises:
            UsageError: the line names the field of the sweep to change.
        """
        positions = getattr(base, "max_position_embeddings", None)
        virtual = self.n_virtual_tokens(settings)
        if sequence_length and positions and sequence_length + virtual > positions:
            extra = f" and {virtual} virtual tokens" if virtual else ""
            raise UsageError(
                f"data.sequence_length {sequence_length}{extra} of tuning method {self.name!r} exceed the base model's "
                f"{positions} positions: set data.sequence_length to at most {positions - virtual}"
            )
        if quantization and not self.quantizable:
            raise UsageError(
                f"tuning method {self.name!r} changes the base's own weights and can't work on a {quantization} base: "
                'set train.quantization = "auto", which takes each method\'s own'
            )

    def check_shards(self, quantization: str) -> None:
        """Refuse what can't be trained by processes that hold a share of the model each (`[train] fsdp`).

        Args:
            quantization: of the base: none, 8bit or nf4.

        Raises:
            CellError: the line names the field of the sweep to change.
        """
        if quantization != "none":
            raise CellError(
                f'[train] fsdp = true can\'t share out a {quantization} base: set quantization = "none", or '
                "fsdp = false, which keeps a copy of the base on each device"
            )
        own, plain = type(self), TuningMethod
        if own.trainable_state is not plain.trainable_state or own.regularizer is not plain.regularizer:
            raise CellError(
                f"tuning method {self.name!r} works on whole matrices, which [train] fsdp = true cuts up: "
                "set fsdp = false for it"
            )

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> PeftConfig | None:
        """Configuration of the PEFT library for `base`, or None for full fine-tuning."""
        raise NotImplementedError

    def attach(self, model: PreTrainedModel, settings: Mapping[str, Any], steps: int) -> nn.Module:
        """The model made ready to be tuned: exactly the method's parameters require gradients.

        New parameters are drawn from torch's global generator: seed it first.

        Args:
            model: base model; it is changed in place.
            settings: as `with_defaults` gives them.
            steps: optimizer steps planned (some methods schedule by it).

        Raises:
            UsageError: a setting is out of range, or names a module that the model has not.
            CellError: the method does not fit the architecture.
        """
        from peft import get_peft_model

        from astraios.models.methods._targets import check_targets

        try:
            config = self.peft_config(model.config, settings, steps)
        except (ValueError, TypeError) as error:
            raise UsageError(f"[method.{self.name}] {_first_line(error)}") from error
        if config is None:
            return model.requires_grad_(True)
        check_targets(model, config, self.name)
        try:
            with warnings.catch_warnings():
                for message in _BENIGN:
                    warnings.filterwarnings("ignore", message=message)
                return keep_precision(get_peft_model(model, config))
        except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError, AttributeError) as error:
            kind = getattr(model.config, "model_type", type(model).__name__)
            raise CellError(f"tuning method {self.name!r} does not fit a {kind} model: {_first_line(error)}") from error

    def n_trainable(self, model: PreTrainedModel, settings: Mapping[str, Any], steps: int) -> int:
        """Parameters that `attach` would make trainable, for a model on torch's meta device; it is changed."""
        import torch

        with torch.device("meta"):
            tuned = self.attach(model, settings, steps)
        return sum(parameter.numel() for parameter in tuned.parameters() if parameter.requires_grad)

    def working(self, model: PreTrainedModel, settings: Mapping[str, Any], number: int) -> Working:
        """What its computation takes beside what it trains and what any layer keeps, for the plan of memory.

        Args:
            model: the base on torch's meta device.
            settings: as `with_defaults` gives them.
            number: bytes of a number of the base.
        """
        return Working()

    def regularizer(self, model: nn.Module) -> Tensor | None:
        """What the method adds to the cross-entropy in training, a scalar, or None.

        The training loop takes cross-entropy from the logits alone and adds this: the losses that models return
        may already hold it, in evaluation too.
        """
        return None

    def after_step(self, model: nn.Module, step: int) -> None:
        """For methods that adapt themselves (AdaLoRA's rank allocation).

        Called after the optimizer's step and before gradients are cleared; `step` counts from 1.
        """

    def trainable_state(self, model: nn.Module) -> dict[str, Tensor]:
        """All that training changes in the model, by name, copied to the CPU: enough to resume exactly.

        More than the saved adapter holds: P-Tuning's encoder is in it, and AdaLoRA's importance scores.
        """
        return {
            name: parameter.detach().to("cpu", copy=True)
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    def load_trainable_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put back what `trainable_state` gave, in place.

        Raises:
            CellError: the state is of another method, other settings or another base.
        """
        import torch

        mine = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        wrong = set(mine) ^ set(state)
        wrong |= {name for name in set(mine) & set(state) if mine[name].shape != state[name].shape}
        if wrong:
            raise CellError(
                f"the checkpoint is not of this {self.name} run: {len(wrong)} tensors differ, {min(wrong)!r} first; "
                "remove the checkpoint to train from the start"
            )
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(state[name])

    def save(self, model: nn.Module, directory: Path) -> None:
        """Write what is needed to load the tuned model again: the adapter, or the whole model if all of it is tuned.

        The base is referenced by name in the adapter's configuration, not copied.
        """
        model.save_pretrained(str(directory))  # type: ignore[operator]
        note = self.card_note()
        if note:
            card = Path(directory) / "README.md"
            card.write_text(card.read_text(encoding="utf-8").rstrip() + f"\n\n{note}\n", encoding="utf-8")

    def card_note(self) -> str:
        """What the model card must add to PEFT's own, in Markdown."""
        return ""

    def load(self, base: PreTrainedModel, directory: Path, *, trainable: bool = False) -> nn.Module:
        """The tuned model, from a base as it was before tuning and what `save` wrote.

        Raises:
            CellError: the directory holds no adapter, or one that does not fit the base.
        """
        from peft import PeftModel

        if not (Path(directory) / "adapter_config.json").is_file():
            raise CellError(f"{directory} holds no adapter: adapter_config.json is missing")
        try:
            return keep_precision(PeftModel.from_pretrained(base, str(directory), is_trainable=trainable))
        except (ValueError, TypeError, KeyError, RuntimeError, OSError) as error:
            raise CellError(f"the adapter in {directory} can't be loaded: {_first_line(error)}") from error


# What PEFT warns of without need: LN tuning meets layers that aren't linear, BOFT looks for its CUDA extension.
_BENIGN = ("Unsupported layer type .*Norm", "Failed to load the CUDA extension", "Setting boft_n_butterfly_factor to 1")


_RULES: Mapping[str, Rule] = {
    "dropout": Rule(kind="float", minimum=0, below=1),
    "projection_seed": Rule(kind="whole"),
    "tinit": Rule(kind="whole", optional=True, minimum=0, unit="steps"),
    "tfinal": Rule(kind="whole", optional=True, minimum=0, unit="steps"),
    "encoder_width": Rule(kind="whole", optional=True, minimum=1),
}
"""What settings of these names may hold, in any method."""


def _rule(name: str, default: Any) -> Rule:
    """What a setting may hold: by its name, else by the type of its default; counts are at least 1."""
    if name.endswith("_modules"):
        return Rule(kind="modules", optional=True)
    if name in _RULES:
        return _RULES[name]
    if default is None:
        return Rule(optional=True)
    rule = rule_of_type(type(default))
    return Rule(kind="whole", minimum=1) if rule.kind == "int" else rule


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


METHODS: Registry[TuningMethod] = Registry(
    TuningMethod, "astraios.models.methods", "tuning method", group="astraios.methods"
)


def adapter_type(config: Mapping[str, Any]) -> str:
    """Type of an adapter as PEFT spells it, from its adapter_config.json; empty where it does not say."""
    return str(config.get("peft_type") or "").upper().removeprefix("PEFTTYPE.")


def recognise(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The tuning method of an adapter and the settings that its configuration states; None where no method knows it.

    Of several methods that know it, the one whose base has the precision that is told counts (QLoRA, not LoRA).

    Args:
        config: as `TuningMethod.recognises` takes it.
    """
    found = [(method, settings) for method in METHODS if (settings := method.recognises(config)) is not None]
    found.sort(key=lambda one: one[0].quantization != base_precision(config))
    return (found[0][0].name, found[0][1]) if found else None


def base_precision(config: Mapping[str, Any]) -> str | None:
    """ "nf4", "8bit", or None where transformers' `quantization_config` is not there or says something else."""
    told = config.get("quantization_config")
    told = told if isinstance(told, Mapping) else {}
    if told.get("load_in_4bit") and told.get("bnb_4bit_quant_type") == "nf4":
        return "nf4"
    return "8bit" if told.get("load_in_8bit") else None
