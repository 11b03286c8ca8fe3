"""NIST StRD nonlinear regression sets through the estimator: certified values to six digits.

Data and certified values: https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml (public domain).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from astraios.fit.curve import Array, Curve
from astraios.fit.optimise import Problems, minimise


@dataclass(frozen=True)
class Nist(Curve):
    """A regression function of complex arguments; its gradient by the complex step, exact to rounding."""

    function: Callable[[Array, Array], Array] = lambda b, x: x

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            value = self.function(theta.T[:, :, None], x[0])
            gradient = []
            for k in range(theta.shape[1]):
                moved = theta.astype(complex)
                moved[:, k] += 1e-30j
                gradient.append(self.function(moved.T[:, :, None], x[0]).imag / 1e-30)
        return np.nan_to_num(value, nan=1e300, posinf=1e300), np.nan_to_num(np.stack(gradient, axis=1))


SETS = {
    "Misra1a": (
        lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
        [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0],
        [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78],
        [(500, 0.0001), (250, 0.0005)],
        [2.3894212918e02, 5.5015643181e-04],
        1.2455138894e-01,
    ),
    "DanWood": (
        lambda b, x: b[0] * x ** b[1],
        [1.309, 1.471, 1.490, 1.565, 1.611, 1.680],
        [2.138, 3.421, 3.597, 4.340, 4.882, 5.660],
        [(1, 5), (0.7, 4)],
        [7.6886226176e-01, 3.8604055871e00],
        4.3173084083e-03,
    ),
    "BoxBOD": (
        lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
        [1, 2, 3, 5, 7, 10],
        [109, 149, 149, 191, 213, 224],
        [(100, 0.75)],
        [2.1380940889e02, 5.4723748542e-01],
        1.1680088766e03,
    ),
    "MGH09": (
        lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
        [4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625],
        [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246],
        [(0.25, 0.39, 0.415, 0.39)],
        [1.9280693458e-01, 1.9128232873e-01, 1.2305650693e-01, 1.3606233068e-01],
        3.0750560385e-04,
    ),
    "MGH10": (
        lambda b, x: b[0] * np.exp(b[1] / (x + b[2])),
        list(range(50, 126, 5)),
        [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872],
        [(0.02, 4000, 250)],
        [5.6096364710e-03, 6.1813463463e03, 3.4522363462e02],
        8.7945855171e01,
    ),
    "Rat42": (
        lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)),
        [9, 14, 21, 28, 42, 57, 63, 70, 79],
        [8.93, 10.80, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08],
        [(100, 1, 0.1), (75, 2.5, 0.07)],
        [7.2462237576e01, 2.6180768402e00, 6.7359200066e-02],
        8.0565229338e00,
    ),
    "Rat43": (
        lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)) ** (1 / b[3]),
        list(range(1, 16)),
        [16.08, 33.83, 65.80, 97.20, 191.55, 326.20, 386.87, 520.53, 590.03, 651.92, 724.93, 699.56, 689.96, 637.56,
         717.41],
        [(100, 10, 1, 1), (700, 5, 0.75, 1.3)],
        [6.9964151270e02, 5.2771253025e00, 7.5962938329e-01, 1.2792483859e00],
        8.7864049080e03,
    ),
}  # fmt: skip


@pytest.mark.promise("fits have the certified and the published values")
@pytest.mark.parametrize("name", SETS)
def test_certified_values(name: str) -> None:
    function, x, y, starts, certified, residual = SETS[name]
    k = len(certified)
    curve = Nist(name, name, (), "", "", ("x",), function)
    free = np.full(k, 1e12)
    zero = np.zeros((1, k))
    problems = Problems(
        curve, np.array([x], float), np.array([y], float), np.ones((1, len(x))), np.full((1, 1), np.inf), zero, zero,
        -free, free,
    )  # fmt: skip
    solution = minimise(problems, np.array(starts, float), max_iter=2000, rtol=1e-22)
    for objective, theta in zip(solution.objective, solution.theta, strict=True):
        assert 2 * objective == pytest.approx(residual, rel=1e-8)
        np.testing.assert_allclose(theta, certified, rtol=1e-6)
