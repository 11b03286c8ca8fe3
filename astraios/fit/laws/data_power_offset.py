"""L = E + B D^-beta: a power law in the amount of data, down to an irreducible loss."""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

data_power_offset = SumLaw(
    name="data_power_offset",
    title="Power law in data with irreducible loss",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("B", "reducible loss at D = 1", "amplitude", "nats"),
        Parameter("beta", "exponent of data", "exponent", low=5e-3, high=5, input="n_tokens"),
    ),
    inputs=("n_tokens",),
    latex=r"L(D) = E + B D^{-\beta}",
    citation="Hernandez et al. (2021), Scaling laws for transfer",
    terms=((0, ()), (1, ((0, 2),))),
)
