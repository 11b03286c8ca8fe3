# ruff: noqa: E402
"""Every method on two architectures: trains, saves, loads in a new process, and changes only what it counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra astraios[train]")
pytest.importorskip("peft", reason="needs the extra astraios[train]")

from tuning_helpers import attached, base, logits, optimizer, tokens, train

from astraios.models.counting import count_parameters
from astraios.models.methods import METHODS

KINDS = ("gpt_bigcode", "llama")
CELLS = [(name, kind) for name in METHODS.names() for kind in KINDS]


@pytest.fixture(scope="module")
def tuned(bases, tmp_path_factory) -> dict:
    """Each cell after three steps: what was counted, what changed, its logits, and those of a new process."""
    place, plan, results = tmp_path_factory.mktemp("tuned"), {}, {}
    for name, kind in CELLS:
        method, model, settings = attached(bases[kind], name)
        before = {key: value.detach().clone() for key, value in model.state_dict().items()}
        trainable = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
        losses = train(method, model, settings, optimizer(model), range(1, 4))
        after = model.state_dict()
        aliases = {value.data_ptr() for key, value in after.items() if key in trainable}
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        directory = place / f"{name}-{kind}"
        method.save(model, directory)
        plan[f"{name}-{kind}"] = (name, str(bases[kind]), str(directory))
        results[name, kind] = {
            "method": method,
            "settings": settings,
            "losses": losses,
            "trainable": trainable,
            "n": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "changed": {key for key in changed if after[key].data_ptr() not in aliases} | (changed & trainable),
            "logits": logits(model),
            "directory": directory,
            "model": model,
        }
    (place / "plan.json").write_text(json.dumps(plan))
    script, root = Path(__file__).with_name("reload_tuned.py"), Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, str(script), str(place / "plan.json"), str(place / "logits.pt")],
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=place,
    )
    for key, found in torch.load(place / "logits.pt").items():
        results[tuple(key.split("-"))]["reloaded"] = found
    return results


@pytest.mark.promise("a tuned model comes back as it was")
@pytest.mark.parametrize(("name", "kind"), CELLS)
def test_loads_in_a_new_process_with_the_same_logits(tuned, name, kind) -> None:
    cell = tuned[name, kind]
    assert cell["reloaded"].shape == cell["logits"].shape
    assert (cell["reloaded"] - cell["logits"]).abs().max() <= 1e-5


@pytest.mark.promise("a tuned model comes back as it was")
@pytest.mark.parametrize(("name", "kind"), CELLS)
def test_exactly_the_counted_parameters_change(tuned, name, kind) -> None:
    cell = tuned[name, kind]
    assert cell["changed"] == cell["trainable"]
    config = cell["model"].config
    counted = count_parameters(config, cell["method"], cell["settings"], 20)
    assert counted.n_trainable == cell["n"]


@pytest.mark.parametrize(("name", "kind"), CELLS)
def test_learns_and_keeps_the_positions_of_virtual_tokens(tuned, name, kind, bases) -> None:
    cell = tuned[name, kind]
    virtual = cell["method"].n_virtual_tokens(cell["settings"])
    assert cell["logits"].shape[1] == virtual + tokens().shape[1]
    assert all(torch.isfinite(torch.tensor(cell["losses"])))
    untuned = logits(base(bases[kind]))
    assert (cell["logits"][:, virtual:] - untuned).abs().max() > 1e-6


@pytest.mark.parametrize(("name", "kind"), [cell for cell in CELLS if cell[0] not in ("fft", "pissa")])
def test_disabled_it_is_the_base(tuned, name, kind, bases) -> None:
    """PiSSA is left out: it moves the principal part of the base's weights into the adapter."""
    model = tuned[name, kind]["model"]
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(base(bases[kind])))


@pytest.mark.parametrize("name", ["lora", "ia3", "adapterh", "adapterp", "parallel", "ptuning", "prompt", "fft"])
def test_the_loss_falls(bases, name) -> None:
    """On one batch that is seen again and again, for every method of the paper."""
    method, model, settings = attached(bases["gpt_bigcode"], name)
    opt = optimizer(model, lr=3e-2)
    losses = [train(method, model, settings, opt, range(7, 8))[0] for _ in range(15)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["adapterh", "adapterp", "parallel"])
def test_the_card_says_how_to_load_a_bottleneck_adapter(tuned, name) -> None:
    card = (tuned[name, "gpt_bigcode"]["directory"] / "README.md").read_text()
    assert "import astraios.models.bottleneck" in card
