"""Laws and projections inside SQL: the same numbers as from the fitting code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from astraios import store, workflow
from astraios.errors import StoreError
from astraios.fit.laws import LAWS


def in_sql(name: str) -> bool:
    return set(LAWS.get(name).inputs) <= {"n_params", "n_tokens"} and name != "data_constrained"


@pytest.mark.promise("every documented query and example runs")
@pytest.mark.parametrize("name", [name for name in LAWS.names() if in_sql(name)])
def test_a_law_is_the_same_in_sql(name: str, ladder: Path) -> None:
    law, rng = LAWS.get(name), np.random.default_rng(0)
    n, d = 10 ** rng.uniform(6, 10, 20), 10 ** rng.uniform(7, 11, 20)
    values = {p.name: float(np.clip(rng.uniform(0.2, 2), p.low, p.high)) for p in law.parameters}
    values |= {p.name: 1e8 for p in law.parameters if p.role == "scale"}
    inputs = {"n_params": n, "n_tokens": d}
    expected = law.predict(values, **{key: inputs[key] for key in law.inputs})
    points = ", ".join(f"({a!r}::double, {b!r}::double)" for a, b in zip(n.tolist(), d.tolist(), strict=True))
    parameters = ", ".join(f"'{key}': {value!r}::double" for key, value in values.items())
    got = store.query(
        ladder, f"select law_loss('{name}', map {{{parameters}}}, n, d) as loss from (values {points}) t(n, d)"
    )
    np.testing.assert_allclose(got["loss"].to_numpy(), expected, rtol=1e-12)


def test_other_laws_are_refused_in_words(ladder: Path) -> None:
    with pytest.raises(StoreError, match="law steps is not among"):
        store.query(ladder, "select law_loss('steps', map {'E': 1.0}, 1.0, 1.0)")


@pytest.mark.promise("every documented query and example runs")
def test_a_projection_in_sql_is_the_stored_fit_s(ladder: Path) -> None:
    fits = store.query(ladder, "select fit_id from fit where quantity = 'loss'")["fit_id"].to_list()
    assert len(fits) >= 2
    sizes = [2.56e8, 1e9, 1e11]
    for fit_id in fits:
        expected = workflow.load_fit(fit_id, ladder).predict(sizes)
        got = store.query(ladder, f"from project('{fit_id}', {sizes}) order by n_params")
        assert len(got) == len(sizes)
        for column in ("mean", "low", "high", "new_low", "new_high"):
            np.testing.assert_allclose(got[column].to_numpy(), expected[column].to_numpy(), rtol=1e-9)
