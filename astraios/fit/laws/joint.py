"""L = E + A N^-alpha D^-beta: size multiplies what fine-tuning data are worth."""

from astraios.fit.laws import Parameter
from astraios.fit.laws._sum import SumLaw

joint = SumLaw(
    name="joint",
    title="Fine-tuning joint law",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("A", "reducible loss at N = D = 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("beta", "exponent of data", "exponent", low=5e-3, high=5, input="n_tokens"),
    ),
    inputs=("n_params", "n_tokens"),
    latex=r"L(N, D) = E + A N^{-\alpha} D^{-\beta}",
    citation="Zhang et al. (2024), When scaling meets LLM finetuning, eq. 1",
    terms=((0, ()), (1, ((0, 2), (1, 3)))),
)
