"""L = B D^-beta: a straight line in logarithms of the amount of data."""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

data_power = SumLaw(
    name="data_power",
    title="Power law in data",
    parameters=(
        Parameter("B", "loss at D = 1", "amplitude", "nats"),
        Parameter("beta", "exponent of data", "exponent", transform="identity", low=-2, high=5, input="n_tokens"),
    ),
    inputs=("n_tokens",),
    latex=r"L(D) = B D^{-\beta}",
    citation="Hestness et al. (2017), Deep learning scaling is predictable, empirically",
    terms=((0, ((0, 1),)),),
)
