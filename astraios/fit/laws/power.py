"""L = A N^-alpha: a straight line in logarithms. The exponent may be negative: the loss of a failing method rises."""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

power = SumLaw(
    name="power",
    title="Power law",
    parameters=(
        Parameter("A", "loss at N = 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", transform="identity", low=-2, high=5, input="n_params"),
    ),
    inputs=("n_params",),
    latex=r"L(N) = A N^{-\alpha}",
    citation="Hestness et al. (2017), Deep learning scaling is predictable, empirically",
    terms=((0, ((0, 1),)),),
)
