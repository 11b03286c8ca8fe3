"""L = E + A N^-alpha: a power law down to an irreducible loss."""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

power_offset = SumLaw(
    name="power_offset",
    title="Power law with irreducible loss",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("A", "reducible loss at N = 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
    ),
    inputs=("n_params",),
    latex=r"L(N) = E + A N^{-\alpha}",
    citation="Henighan et al. (2020), Scaling laws for autoregressive generative modeling, eq. 1.1",
    terms=((0, ()), (1, ((0, 2),))),
)
