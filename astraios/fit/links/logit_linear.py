"""Linear in the log odds of the score, with no floor: for scores without a chance level, or below it."""

from astraios.fit.links import Parameter
from astraios.fit.links._logistic import Logistic

logit_linear = Logistic(
    name="logit_linear",
    title="Linear in logit",
    parameters=(
        Parameter("a", "log odds at the mean loss", "shape", transform="identity", low=-30, high=30),
        Parameter("b", "log odds per spread of the loss", "shape", transform="identity", low=-30, high=30),
    ),
    latex=r"\operatorname{logit} s = a + b z",
    citation="Owen (2024), How predictable is language model benchmark performance?",
    floored=False,
    anchored=False,
    far=2.0,
    special=True,
)
