"""Hugging Face's Trainer, and what builds on it: TRL, Unsloth, Axolotl, LLaMA-Factory.

    Trainer(..., callbacks=[AstraiosCallback()])

Importing this module also makes `report_to="astraios"` known. `eval_loss` is the Trainer's mean of batch means: where
batches are padded to different lengths, or several processes evaluate, it differs from the mean a token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import integration_utils

from astraios.track import note, trl
from astraios.track.begin import init, reopen
from astraios.track.data import dataset_id, fingerprint
from astraios.track.facts import Facts
from astraios.track.model import is_language_model, model_facts
from astraios.track.process import n_devices
from astraios.track.run import Run

RECIPE = ("lr_scheduler_type", "warmup_steps", "warmup_ratio", "weight_decay", "optim", "max_grad_norm",
          "num_train_epochs", "bf16", "fp16", "gradient_checkpointing", "label_smoothing_factor", "neftune_noise_alpha",
          "beta", "loss_type", "num_generations", "max_length", "packing")  # fmt: skip
"""Arguments that can change a number."""


class AstraiosCallback(TrainerCallback):  # type: ignore[misc]
    """Writes what a Trainer logs as a run of astraios, with the facts that the trainer knows.

    Args:
        out: folder or URL of the run directories; else $ASTRAIOS_RUNS, else runs.
        facts: arguments of `astraios.init` that go before what the trainer says: dataset="mine@v3", method=..., ...
    """

    def __init__(self, out: str | Path | None = None, **facts: Any) -> None:
        self.out, self.given = out, facts
        self.run: Run | None = None
        self._known: Facts | None = None
        self._training = self._evaluated = False

    def on_init_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Counts the model before it is wrapped, and has the Trainer count tokens."""
        self._known = self._of_model(model)
        _count_tokens(args)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begins the run, or goes on with the one of the checkpoint."""
        self._training = True
        _count_tokens(args)
        if self.run is None or not self.run.is_open:
            self._begin(args, state, kwargs)
        else:
            self.run.describe(_of_recipe(args, state, kwargs))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Keeps what was logged, at the step it was logged for."""
        if not logs or not state.is_world_process_zero:
            return
        run = self._open(args, state, kwargs)
        told = dict(logs)
        tokens = state.num_input_tokens_seen or told.get("num_tokens") or told.get("eval_num_tokens") or None
        for name, task, metric, value in trl.rewards(told) if trl.is_trl(args) else ():
            run.score(task, {metric: value}, step=state.global_step, tokens=tokens)
            del told[name]
        if "learning_rate" not in told and (rate := _rate(kwargs.get("lr_scheduler"))) is not None:
            told["learning_rate"] = rate
        run.log(told, step=state.global_step, tokens=tokens)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Notes on which rows was evaluated; after training, ends the run again."""
        if self.run is None or not state.is_world_process_zero:
            return
        held_out = getattr(kwargs.get("eval_dataloader"), "dataset", None)
        if held_out is not None and not self._evaluated and self.run.is_open:
            self._evaluated = True
            self._note_split(self.run, fingerprint(held_out))
        if not self._training:
            self.run.finish()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ends the run; an evaluation after training opens it again."""
        self._training = False
        if self.run is None:
            return
        if not trl.has_objective(args):
            batch = self.run.facts.train.get("batch_size", 0)
            self.run.facts.estimate("train_flops", estimated_flops(self.run.facts, kwargs.get("model"), state, batch))
        self.run.finish()

    def _note_split(self, run: Run, mark: str | None) -> None:
        """The evaluation split goes into the data's identity, unless the user has named the data."""
        named = str(run.facts.values.get("dataset"))
        if mark is None or run.facts.sources.get("dataset") != "trainer":
            return
        if not named.endswith(f"-{mark[:6]}"):
            run.facts.values["dataset"] = f"{named}-{mark[:6]}"
        run.describe(eval_hash=mark)

    def _open(self, args: Any, state: Any, kwargs: dict[str, Any]) -> Run:
        if self.run is None:
            self._begin(args, state, kwargs)
        elif not self.run.is_open and self.run.path is not None:
            self.run = self._named(reopen(self.run.id, self.out), args, kwargs.get("model"))
        assert self.run is not None
        return self.run

    def _begin(self, args: Any, state: Any, kwargs: dict[str, Any]) -> None:
        facts = self._known or self._of_model(kwargs.get("model"))
        recipe = _of_recipe(args, state, kwargs)
        for name, value in recipe.values.items():
            facts.add("trainer", {name: value})
        facts.train = {**facts.train, **recipe.train}
        self._known = None
        folder = Path(args.output_dir) if args.output_dir else None
        earlier = note.find(folder) if folder and state.global_step else None
        given = {**({"id": earlier.run_id, "resume": "allow"} if earlier else {}), **self.given}
        mode = {} if state.is_world_process_zero else {"mode": "disabled"}
        run = init(out=self.out, facts=facts, **{**given, **mode})
        if run.is_open and folder is not None:
            note.leave(folder, run)
        self.run = self._named(run, args, kwargs.get("model"))

    def _named(self, run: Run, args: Any, model: Any) -> Run:
        run.define("train_loss")  # The mean over all of training.
        if trl.has_objective(args) or (model is not None and not is_language_model(model)):
            run.define("loss")
            run.define("eval_loss")
        return run

    def _of_model(self, model: Any) -> Facts:
        return model_facts(model) if model is not None else Facts()


def _count_tokens(args: Any) -> None:
    """Has the Trainer count the tokens that it trains on, where it does not; TRL's trainers count their own."""
    if not trl.is_trl(args) and args.include_num_input_tokens_seen in ("no", False):
        args.include_num_input_tokens_seen = "non_padding"


def _of_recipe(args: Any, state: Any, kwargs: dict[str, Any]) -> Facts:
    """What the arguments say, and the data that is trained on."""
    facts = Facts()
    facts.add("trainer", {
        "seed": args.seed, "learning_rate": args.learning_rate, "steps": state.max_steps or None,
        "dataset": dataset_id(getattr(kwargs.get("train_dataloader"), "dataset", None)),
    })  # fmt: skip
    told = {name: getattr(args, name, None) for name in RECIPE}
    plain = {name: getattr(value, "value", value) for name, value in told.items() if value is not None}
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * n_devices()
    facts.train = {**plain, "batch_size": batch, "trainer": type(args).__name__}
    return facts


def estimated_flops(facts: Facts, model: Any, state: Any, batch: int) -> float | None:
    """Operations of the training so far as `collect` estimates them; None where the architecture is no dense one that
    the formula is for, or no tokens were counted."""
    from astraios.models.methods import METHODS
    from astraios.records import ParameterCount
    from astraios.train.flops import train_flops

    config, told = getattr(model, "config", None), facts.values
    counts: list[Any] = [told.get(name) for name in ("n_params", "n_params_nonembedding", "n_trainable")]
    method, n_tokens = str(told.get("method")), state.num_input_tokens_seen
    sequences = state.global_step * batch
    if None in counts or method not in METHODS or not n_tokens or not sequences or "n_active" in facts.about:
        return None
    try:
        virtual = METHODS.get(method).n_virtual_tokens(facts.settings)
        return train_flops(
            config, ParameterCount(*counts), kind=METHODS.get(method).kind, n_tokens=n_tokens,
            sequence_length=max(1, round(n_tokens / sequences)), n_virtual_tokens=virtual,
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError):
        return None


def _rate(scheduler: Any) -> float | None:
    """The learning rate as the Trainer logs it."""
    try:
        return float(scheduler.get_last_lr()[0])
    except (AttributeError, AssertionError, IndexError, TypeError):
        return None


integration_utils.INTEGRATION_TO_CALLBACK["astraios"] = AstraiosCallback
