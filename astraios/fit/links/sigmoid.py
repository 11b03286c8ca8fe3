"""Logistic in the loss, from chance level to the ceiling."""

from astraios.fit.links import Parameter
from astraios.fit.links._logistic import Logistic

sigmoid = Logistic(
    name="sigmoid",
    title="Sigmoid from chance to ceiling",
    parameters=(
        Parameter("a", "log odds at the mean loss", "shape", transform="identity", low=-30, high=30),
        Parameter("b", "log odds per spread of the loss", "shape", transform="identity", low=-30, high=30),
    ),
    latex=r"s = c + (u - c)\,\sigma(a + b z)",
    citation="Bhagia et al. (2024), Establishing task scaling laws via compute-efficient model ladders, eq. 2",
    far=1.0,
    special=True,
)
