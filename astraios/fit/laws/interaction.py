"""L = E + A N^-alpha + B N^-gamma D^-beta: how much data are worth depends on size.

Contains Chinchilla's law (gamma = 0) and the joint law (A = 0). A negative gamma says that a larger model needs more
data before its size shows, as in ladders that hold under-trained runs.
"""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

interaction = SumLaw(
    name="interaction",
    title="Chinchilla with interaction",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("A", "loss from finite size at N = 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("B", "loss from finite data at N = D = 1", "amplitude", "nats"),
        Parameter("beta", "exponent of data", "exponent", low=5e-3, high=5, input="n_tokens"),
        Parameter("gamma", "exponent of size in the data term", "mixing", transform="identity", low=-3, high=3),
    ),
    inputs=("n_params", "n_tokens"),
    latex=r"L(N, D) = E + A N^{-\alpha} + B N^{-\gamma} D^{-\beta}",
    citation="nests Hoffmann et al. (2022), eq. 10, and Zhang et al. (2024), eq. 1",
    terms=((0, ()), (1, ((0, 2),)), (3, ((0, 5), (1, 4)))),
)
