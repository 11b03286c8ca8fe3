"""L = E + A N^-alpha + B D^-beta: size and data as separate terms."""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

chinchilla = SumLaw(
    name="chinchilla",
    title="Chinchilla",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("A", "loss from finite size at N = 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("B", "loss from finite data at D = 1", "amplitude", "nats"),
        Parameter("beta", "exponent of data", "exponent", low=5e-3, high=5, input="n_tokens"),
    ),
    inputs=("n_params", "n_tokens"),
    latex=r"L(N, D) = E + A N^{-\alpha} + B D^{-\beta}",
    citation="Hoffmann et al. (2022), Training compute-optimal large language models, eq. 10",
    terms=((0, ()), (1, ((0, 2),)), (3, ((1, 4),))),
)
