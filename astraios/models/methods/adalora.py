"""AdaLoRA (Zhang et al., 2023, arXiv:2303.10512): low-rank updates whose rank is allocated by importance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.errors import CellError, UsageError
from astraios.models.methods import TuningMethod
from astraios.models.methods._targets import targets

if TYPE_CHECKING:
    from peft import AdaLoraConfig, AdaLoraModel
    from torch import Tensor, nn
    from transformers import PretrainedConfig

_SCORES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


@dataclass(frozen=True, kw_only=True)
class AdaLora(TuningMethod):
    """W + (alpha / r) B diag(E) A with a regularizer that keeps A and B orthogonal, and triplets pruned on the way.

    `schedule` says how appendix D's 200 steps of warm-up and 1,000 of final tuning are read, where `tinit` and
    `tfinal` don't say it. "printed": as they stand, so that a run of 200 steps ends within its warm-up and keeps the
    initial rank (PEFT refuses that schedule for 200 steps, and a Trainer never calls the allocation: the paper's runs
    kept the rank too). "scaled": warm-up a tenth of the run, final tuning half of it, so that ranks are allocated.
    """

    peft_type: ClassVar[str] = "ADALORA"
    peft_names: ClassVar[Mapping[str, str]] = {
        "rank": "init_r",
        "target_rank": "target_r",
        "alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "tinit": "tinit",
        "tfinal": "tfinal",
        "delta_t": "deltaT",
        "beta1": "beta1",
        "beta2": "beta2",
        "orthogonality": "orth_reg_weight",
        "target_modules": "target_modules",
    }

    def check(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int, **limits: Any) -> None:
        super().check(base, settings, steps, **limits)
        self._schedule(settings, steps)

    def _schedule(self, settings: Mapping[str, Any], steps: int) -> tuple[int, int, int]:
        """(tinit, tfinal, total_step) as PEFT takes them."""
        presets = {"printed": (200, 1000), "scaled": (steps // 10, steps // 2)}
        if settings["schedule"] not in presets:
            raise UsageError(f"method.{self.name}.schedule must be one of {', '.join(presets)}")
        tinit, tfinal = presets[settings["schedule"]]
        tinit = tinit if settings["tinit"] is None else settings["tinit"]
        tfinal = tfinal if settings["tfinal"] is None else settings["tfinal"]
        explicit = settings["tinit"] is not None or settings["tfinal"] is not None
        if settings["schedule"] == "printed" and not explicit:
            return tinit, tfinal, max(steps, tinit + tfinal + 1)
        if tinit >= steps - tfinal:
            raise UsageError(
                f"[method.{self.name}] tinit {tinit} and tfinal {tfinal} leave no step of {steps} to allocate ranks "
                "in: lower tinit or tfinal, or raise steps"
            )
        return tinit, tfinal, steps

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> AdaLoraConfig:
        from peft import AdaLoraConfig

        tinit, tfinal, total = self._schedule(settings, steps)
        return AdaLoraConfig(
            task_type="CAUSAL_LM",
            init_r=settings["rank"],
            target_r=settings["target_rank"],
            lora_alpha=settings["alpha"],
            lora_dropout=settings["dropout"],
            tinit=tinit,
            tfinal=tfinal,
            total_step=total,
            deltaT=settings["delta_t"],
            beta1=settings["beta1"],
            beta2=settings["beta2"],
            orth_reg_weight=settings["orthogonality"],
            target_modules=targets(
                base, settings, self.name, "attention_in", "attention_out", "mlp_out", peft_table="ADALORA"
            ),
        )

    def regularizer(self, model: nn.Module) -> Tensor | None:
        """`orthogonality` x the mean over all A and B of the Frobenius norm of P P' - I (PEFT's form of eq. 4)."""
        import torch

        weight = _config(model).orth_reg_weight
        terms = []
        for name, factor in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                gram = factor @ factor.T if "lora_A" in name else factor.T @ factor
                identity = torch.eye(gram.shape[0], device=gram.device, dtype=gram.dtype)
                terms.append(torch.linalg.matrix_norm(gram - identity))
        return weight * torch.stack(terms).mean() if terms and weight else None

    def after_step(self, model: nn.Module, step: int) -> None:
        _tuner(model).update_and_allocate(step)

    def trainable_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Parameters, the allocator's moving averages ("allocator/...") and the ranks ("ranks/...")."""
        import torch

        state = super().trainable_state(model)
        allocator = _tuner(model).rankallocator
        for score in _SCORES:
            for name, value in getattr(allocator, score).items():
                state[f"allocator/{score}/{name}"] = value.detach().to("cpu", copy=True)
        for name, kept in (_config(model).rank_pattern or {}).items():
            state[f"ranks/{name}"] = torch.tensor(_booleans(kept))
        return state

    def load_trainable_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        extra = {name for name in state if name.startswith(("allocator/", "ranks/"))}
        super().load_trainable_state(model, {name: value for name, value in state.items() if name not in extra})
        allocator, devices = _tuner(model).rankallocator, {name: p.device for name, p in model.named_parameters()}
        for score in _SCORES:
            prefix = f"allocator/{score}/"
            found = {name.removeprefix(prefix): state[name] for name in extra if name.startswith(prefix)}
            inner = {name: _device(devices, name) for name in found}
            setattr(allocator, score, {name: value.to(inner[name]) for name, value in found.items()})
        ranks = {name.removeprefix("ranks/"): state[name].tolist() for name in extra if name.startswith("ranks/")}
        _config(model).rank_pattern = dict(sorted(ranks.items())) or None


def _tuner(model: nn.Module) -> AdaLoraModel:
    from peft import AdaLoraModel

    tuner = getattr(model, "base_model", None)
    if not isinstance(tuner, AdaLoraModel):
        raise CellError("the model has no AdaLoRA adapter")
    return tuner


def _config(model: nn.Module) -> AdaLoraConfig:
    tuner = _tuner(model)
    return tuner.peft_config[tuner.trainable_adapter_name]  # type: ignore[return-value]


def _booleans(kept: Any) -> list[bool]:
    return [bool(k) for k in (kept.view(-1).tolist() if hasattr(kept, "view") else kept)]


def _device(devices: Mapping[str, Any], name: str) -> Any:
    """The allocator names parameters from inside the tuned model, without its wrappers."""
    return next((device for path, device in devices.items() if path.endswith(name)), "cpu")


METHOD = AdaLora(
    name="adalora",
    title="AdaLoRA",
    kind="low-rank",
    citation="Zhang et al., 2023, arXiv:2303.10512",
    # Appendix F: 1e-4 at first, which fails; 1e-3 and 3e-2 work much better.
    learning_rate=1e-3,
    # Three moving averages of importance on top.
    trained_bytes=28,
    settings={
        "rank": 12,
        "target_rank": 8,
        "alpha": 16,
        "dropout": 0.05,
        "schedule": "printed",
        "tinit": None,
        "tfinal": None,
        "delta_t": 10,
        "beta1": 0.85,
        "beta2": 0.85,
        "orthogonality": 0.5,
        "target_modules": None,
    },
)
