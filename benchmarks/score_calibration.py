"""The constants of score projections, each source by what all other sources ask for.

    OMP_NUM_THREADS=1 python benchmarks/score_calibration.py [slopes|loss|size]...

slopes: how steeply scores rise with size in each table, which is the prior of slopes from two sizes. loss and size: how
much links are trusted before an error is seen, what distance costs them, how many hidden points count. Of every
combination that was tried the best over all sources but one is taken to that one; a table's error counts against that
of carrying its last size forward, with chance known and with chance unknown alike.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
from score_accuracy import PARTS, Guess, Hidden, carry_forward, unknown

from astraios.fit.links import LINKS
from astraios.fit.scores import by_size, from_loss, rolling
from astraios.fit.scores.scale import Scale

BY_LOSS = {"olmo": ("olmo", "olmo-far"), "gadre": ("gadre",), "llmline": ("llmline",), "rl": ("rl",)}
BY_SIZES = {"olmo": ("olmo-size",), "llmline": ("llmline",), "rl": ("rl",), "qlora": ("qlora",),
            "families": ("families",), "published": ("paper-7b", "paper-16b")}  # fmt: skip
"""Parts of score_accuracy.py by their source."""


@dataclass(frozen=True)
class Constants:
    """One combination; what is None stays as shipped."""

    trust: float | None = None
    """Of special cases."""
    far: float | None = None
    """Factor on the costs of distance."""
    counted: float | None = None
    kept: float | None = None

    def apply(self) -> None:
        """Makes it the one that the fits use."""
        rolling.LINKS = [replace(link, far=link.far * (1.0 if self.far is None else self.far)) for link in LINKS]
        from_loss.members = partial(rolling.members, special=1.0 if self.trust is None else self.trust)
        by_size.SPECIAL = SHIPPED["special"] if self.trust is None else self.trust
        rolling.COUNTED = SHIPPED["counted"] if self.counted is None else self.counted
        by_size.KEPT = SHIPPED["kept"] if self.kept is None else self.kept


SHIPPED = {"counted": rolling.COUNTED, "kept": by_size.KEPT, "special": by_size.SPECIAL}
TRIED: dict[str, list[Constants]] = {
    "loss": [Constants(t, f, c) for t, f, c in product((0.3, 1.0), (0.25, 0.5, 1.0, 2.0), (20.0, 40.0))],
    "size": [Constants(t, f, None, k) for t, f, k in product((0.1, 0.3, 1.0), (0.0, 1.0, 4.0), (0.0, 0.3))],
}


CHANCES = ("known", "unknown")


@cache
def table(part: str, chance: str = "known") -> tuple[Hidden, ...]:
    return tuple(PARTS[part][1]()) if chance == "known" else tuple(map(unknown, table(part)))


def remembered(fit: Callable[..., Any], relink: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A fit that is made once for the same data: what is varied here does not change it, but for the link's weights."""
    known: dict[Any, Any] = {}

    def made(link: Any, *arguments: Any, **options: Any) -> Any:
        key = link.name, pickle.dumps((arguments, options))
        if key not in known:
            known[key] = fit(link, *arguments, **options)
        return relink(known[key], link)

    return made


def by_link(case: Hidden) -> Guess:
    """The link's best estimates, the true loss given."""
    model = from_loss.build(case.train)
    mean = [model.point(np.array([loss]), g)[0] for loss, g in zip(case.hidden.loss, case.hidden.group, strict=True)]
    return Guess(case.hidden.value, np.array(mean), np.array(mean), np.array(mean))


def by_its_size(case: Hidden) -> Guess:
    """The best estimates from size alone."""
    model = by_size.build(case.train)
    points = {size: model.point(float(size)) for size in np.unique(case.hidden.log_size)}
    places = zip(case.hidden.log_size, case.hidden.group, strict=True)
    mean = np.array([points[size][model.names.index(g)] for size, g in places])
    return Guess(case.hidden.value, mean, mean, mean)


@cache
def error(constants: Constants, part: str, chance: str, method: Callable[[Hidden], Guess]) -> float:
    """Mean absolute error, points."""
    constants.apply()
    return 100 * float(np.mean([method(case).error for case in table(part, chance)]))


@cache
def carried(part: str) -> float:
    return 100 * float(np.mean([carry_forward(case).error for case in table(part)]))


def score(constants: Constants, parts: Sequence[Sequence[str]], method: Callable[[Hidden], Guess]) -> float:
    """Mean over sources of the log of the error against carry-forward's."""
    logs = [
        [np.log(error(constants, part, chance, method) / carried(part)) for part in mine for chance in CHANCES]
        for mine in parts
    ]
    return float(np.mean([np.mean(mine) for mine in logs]))


def show(kind: str) -> None:
    """What each source would get from the others' choice, beside what is shipped and its own best."""
    sources, method = (BY_LOSS, by_link) if kind == "loss" else (BY_SIZES, by_its_size)
    tried, shipped = TRIED[kind], Constants()
    print(f"\n### {kind}: {len(tried)} combinations\n")
    print("Errors with chance known and unknown, points.\n")
    print("| source left out | choice of the others | error with it | as shipped | best of all tried, its own choice |")
    print("| --- | --- | --- | --- | --- |")
    for name, parts in sources.items():
        others = [mine for other, mine in sources.items() if other != name]
        chosen = min(tried, key=lambda one, others=others: score(one, others, method))
        own = min(tried, key=lambda one, parts=parts: score(one, [parts], method))
        cells = [
            " / ".join(
                f"{error(one, part, 'known', method):.2f} {error(one, part, 'unknown', method):.2f}" for part in parts
            )
            for one in (chosen, shipped, own)
        ]
        print(f"| {name} ({', '.join(parts)}) | {words(chosen)} | {' | '.join(cells)} |", flush=True)
    best = min(tried, key=lambda one: score(one, list(sources.values()), method))
    print(f"\nOver all sources: {words(best)}.")


def words(one: Constants) -> str:
    given = {"trust": one.trust, "distance x": one.far, "counted": one.counted, "kept": one.kept}
    return ", ".join(f"{name} {value:g}" for name, value in given.items() if value is not None)


def slopes(part: str) -> Iterator[float]:
    """Rise in log odds above chance for each natural logarithm of size, of each task."""
    sigmoid = LINKS.get("sigmoid")
    for case in table(part):
        data = Scale.of(case.train).data(case.train)
        chance = data.chance if np.isfinite(data.chance) else 0.0
        fit = by_size.fit_link(sigmoid, data, tuple(sorted(set(data.group))), chance)
        yield float(fit.shared[1] / fit.scale)


def show_slopes() -> None:
    """Mean and deviation of the slopes, each source counting once, and what they are without each."""
    found = {name: [np.array(list(slopes(part))) for part in parts] for name, parts in BY_SIZES.items()}
    pooled = {name: np.concatenate(mine) for name, mine in found.items()}
    print("\n### slopes\n\n| source | tasks | mean | deviation | mean and deviation of all others |")
    print("| --- | --- | --- | --- | --- |")
    for name, mine in pooled.items():
        mean, deviation = moments([other for key, other in pooled.items() if key != name])
        print(f"| {name} | {len(mine)} | {mine.mean():.2f} | {mine.std():.2f} | {mean:.2f}, {deviation:.2f} |")
    print("\nAll sources: {:.2f}, {:.2f}; shipped {}, {}.".format(*moments(list(pooled.values())), *by_size.SLOPE))


def moments(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """Mean and standard deviation where each part counts once."""
    mean = float(np.mean([one.mean() for one in parts]))
    return mean, float(np.sqrt(np.mean([np.mean((one - mean) ** 2) for one in parts])))


def main() -> None:
    wanted = sys.argv[1:] or ["slopes", "loss", "size"]
    if "slopes" in wanted:
        show_slopes()
    from_loss.fit_links = remembered(from_loss.fit_links, lambda fits, link: [replace(fit, link=link) for fit in fits])
    by_size.fit_link = remembered(by_size.fit_link, lambda fit, link: replace(fit, link=link))
    for kind in ("loss", "size"):
        if kind in wanted:
            show(kind)


if __name__ == "__main__":
    main()
