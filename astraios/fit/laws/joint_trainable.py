"""L = E + A N^-alpha P^-gamma: the joint law with trainable parameters as its other factor."""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

joint_trainable = SumLaw(
    name="joint_trainable",
    title="Joint law with trainable parameters",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("A", "reducible loss at N = P = 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("gamma", "exponent of trainable parameters", "exponent", low=1e-4, high=5, input="n_trainable"),
    ),
    inputs=("n_params", "n_trainable"),
    latex=r"L(N, P) = E + A N^{-\alpha} P^{-\gamma}",
    citation="Zhang et al. (2024), When scaling meets LLM finetuning, eq. 1 with X = PEFT parameters",
    terms=((0, ()), (1, ((0, 2), (1, 3)))),
)
