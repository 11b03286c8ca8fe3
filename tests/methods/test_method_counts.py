"""Table 1 of the paper, and what METHODS.md says of appendix F, counted on the meta device."""

from __future__ import annotations

import pytest

pytest.importorskip("peft", reason="needs the extra astraios[train]")

from astraios.models.counting import count_parameters
from astraios.models.ladders import resolve
from astraios.models.methods import METHODS
from astraios.train.flops import matmul_params, train_flops

# ASTRAIOS, table 1.
TABLE_1 = {
    "lora": (3_588_096, 7_372_800, 12_472_320, 17_776_640),
    "ptuning": (12_650_496, 23_882_496, 50_466_816, 113_448_960),
    "ia3": (251_904, 516_096, 870_912, 1_239_040),
    "adapterh": (50_331_648, 103_809_024, 176_160_768, 251_658_240),
    "adapterp": (25_165_824, 51_904_512, 88_080_384, 125_829_120),
    "parallel": (26_738_688, 54_263_808, 90_832_896, 128_450_560),
    "fft": (1_137_207_296, 3_043_311_104, 7_327_263_232, 15_517_456_384),
}
# Appendix F's two methods: 30 tokens x width, and 12 (d_in + d_out + 1) for each module.
APPENDIX_F = {
    "prompt": (61_440, 84_480, 122_880, 184_320),
    "adalora": (5_383_008, 11_060_496, 18_709_992, 26_666_400),
}


@pytest.mark.promise("parameter counts are the paper's")
@pytest.mark.parametrize("name", [*TABLE_1, *APPENDIX_F])
def test_counts_are_the_papers(counted, name: str) -> None:
    counts = counted[0][name]
    assert tuple(count.n_trainable for count in counts) == {**TABLE_1, **APPENDIX_F}[name]
    assert tuple(count.n_params for count in counts) == TABLE_1["fft"]


@pytest.mark.promise("parameter counts are the paper's")
def test_counting_is_quick(counted) -> None:
    assert counted[1] < 60


def test_nonembedding_leaves_out_tokens_and_positions(counted) -> None:
    count = counted[0]["fft"][0]
    assert count.n_params - count.n_params_nonembedding == (49_152 + 8_192) * 2048


def test_settings_change_the_count() -> None:
    ladder, rung = resolve("bigcode/starcoderbase-1b")
    lora = METHODS.get("lora")
    base = ladder.config(rung.model_id)
    doubled = count_parameters(base, lora, lora.with_defaults({"rank": 16}))
    assert doubled.n_trainable == 2 * TABLE_1["lora"][0]


def test_flops_of_full_and_frozen(counted) -> None:
    ladder, rung = resolve("1B")
    base = ladder.config(rung.model_id)
    full, lora, prompt = (counted[0][name][0] for name in ("fft", "lora", "prompt"))
    n = matmul_params(base, full)
    assert n == full.n_params - 8192 * 2048  # tied: the token embedding is the output layer
    attention = 12 * 24 * 2048 * 2048
    assert train_flops(base, full, kind="full", n_tokens=10, sequence_length=2048) == 10 * (6 * n + attention)
    frozen = train_flops(base, lora, kind="low-rank", n_tokens=10, sequence_length=2048)
    assert frozen == 10 * (4 * n + 6 * lora.n_trainable + attention)
    longer = train_flops(base, prompt, kind="prompt", n_tokens=2048, sequence_length=2048, n_virtual_tokens=30)
    assert longer == pytest.approx(2078 * (4 * n + 12 * 24 * 2078 * 2048))
