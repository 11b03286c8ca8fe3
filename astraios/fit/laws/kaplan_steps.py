"""L = (Nc/N)^aN + (Sc/S)^aS, as amplitudes: size and optimizer steps."""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

kaplan_steps = SumLaw(
    name="kaplan_steps",
    title="Kaplan (size and steps)",
    parameters=(
        Parameter("A", "loss from finite size at N = 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("B", "loss from finite steps at S = 1", "amplitude", "nats"),
        Parameter("beta", "exponent of steps", "exponent", low=5e-3, high=5, input="steps"),
    ),
    inputs=("n_params", "steps"),
    latex=r"L(N, S) = A N^{-\alpha} + B S^{-\beta}",
    citation="Kaplan et al. (2020), Scaling laws for neural language models, eq. 1.6",
    terms=((0, ((0, 1),)), (2, ((1, 3),))),
)
