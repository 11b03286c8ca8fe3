"""L = E + A S^-alpha: the loss along one run."""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

steps = SumLaw(
    name="steps",
    title="Power law in steps",
    parameters=(
        Parameter("E", "loss that the run would end at", "floor", "nats", low=1e-6),
        Parameter("A", "reducible loss at step 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of steps", "exponent", low=5e-3, high=5, input="steps"),
    ),
    inputs=("steps",),
    latex=r"L(S) = E + A S^{-\alpha}",
    citation="Hestness et al. (2017), Deep learning scaling is predictable, empirically",
    terms=((0, ()), (1, ((0, 2),))),
)
