"""Accuracy and coverage on held-out sizes of real tables, ours beside the peers on the same rows.

    OMP_NUM_THREADS=1 python benchmarks/fit_accuracy.py [-o FILE]

What is learnt from tables (one factor on all intervals) is learnt anew for each source from the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from fit_common import HoldOut, Predicted, cases, holdouts, kind_of, ours, simple_scaling_laws, source_scales

from astraios.fit.laws import LAWS
from astraios.fit.optimise import Problems, minimise


def literature(table: HoldOut, draws: int = 400) -> tuple[Predicted, Predicted]:
    """Chinchilla's law (a power law with offset in data alone) by Huber 1e-3, one fit a series.

    Intervals by pairs bootstrap from the best start, as Besiroglu et al. (2024) do; then with residual noise added.
    """
    rng = np.random.default_rng(0)
    train, hidden = table.ladders()
    plain, noisy = [], []
    for series in hidden.series:
        mine = next(s for s in train.series if s.name == series.name)
        single = len(np.unique(mine.inputs["n_params"])) == 1
        law = LAWS.get("data_power_offset" if single else "chinchilla")
        centre = np.array([mine.inputs[n].mean() for n in law.inputs])
        x = np.stack([mine.inputs[n] - c for n, c in zip(law.inputs, centre, strict=True)])
        k, count, y = len(law.parameters), len(mine), mine.log_loss
        zero, delta = np.zeros((1, k)), np.full((1, 1), 1e-3)
        one = Problems(law, x, y[None], np.ones((1, count)), delta, zero, zero, *law.bounds())
        solved = minimise(one, law.guess(x, y, rng, 64))
        best = solved.theta[solved.objective.argmin()]
        weights = rng.multinomial(count, np.full(count, 1 / count), draws).astype(float)
        many = Problems(law, x, y[None], weights, delta, zero, zero, *law.bounds())
        theta = minimise(many, np.tile(best, (draws, 1)), 100, 1e-9).theta
        at = np.stack([series.inputs[n] - c for n, c in zip(law.inputs, centre, strict=True)])
        mean, drawn = law.evaluate(best[None], at)[0][0], law.evaluate(theta, at)[0]
        residual = y - law.evaluate(best[None], x)[0][0]
        observed = np.exp(series.log_loss)
        for kept, log in ((plain, drawn), (noisy, drawn + rng.choice(residual, drawn.shape))):
            low, high = np.quantile(log, [0.05, 0.95], axis=0)
            kept.append((observed, np.exp(mean), np.exp(low), np.exp(high)))
    return tuple(Predicted(*(np.concatenate(c) for c in zip(*part, strict=True))) for part in (plain, noisy))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", type=Path, help="write the table as Markdown too")
    args = parser.parse_args()
    tables = holdouts()
    found: dict[str, dict[str, Predicted]] = {}
    for name, table in tables.items():
        plain, noisy = literature(table)
        found[name] = {
            "astraios": ours(table),
            "Chinchilla, Huber 1e-3, bootstrap": plain,
            "the same + residuals": noisy,
        }
        for law in ("separable-power", "skaling-joint-power"):
            peer = simple_scaling_laws(table, law) if name != "finetune" else "left out, one fit for each of 60 series"
            if not isinstance(peer, str):
                found[name][f"simple-scaling-laws {law}"] = peer[0]
            else:
                print(f"{name}: simple-scaling-laws {law}: {peer}")
        print(
            f"{name:<13}" + "  ".join(f"{k} {p.error:.2%} {p.coverage:.0%}" for k, p in found[name].items()), flush=True
        )
    needed = {name: row["astraios"].stretch_needed() for name, row in found.items()}
    factors = source_scales(needed, {name: t.source for name, t in tables.items()})
    for name, table in tables.items():
        found[name]["astraios, scale left out"] = found[name]["astraios"].stretched(factors[table.source])
    lines = report(found)
    lines.append(
        f"\nFactor on the intervals that the tables ask for: {factors['all']:.2f}; each source left out: "
        + ", ".join(f"{k} {v:.2f}" for k, v in factors.items() if k != "all")
    )
    lines += of_cases(found, tables)
    text = "\n".join(lines)
    print(text)
    if args.o:
        args.o.write_text(text + "\n")


def of_cases(old: dict[str, dict[str, Predicted]], tables: dict[str, HoldOut]) -> list[str]:
    """Markdown: the tables of cases/ with astraios alone, then all tables by kind of ladder."""
    lines = [
        "\n### Cases (the two series of lowrank_pretrain that diverge left out)\n",
        "| table | kind | points | relative error | coverage of 90% | width | interval score |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows: dict[str, list[tuple[str, Predicted]]] = {}
    for case in cases().values():
        rows.setdefault(case.source, []).append((kind_of(case), ours(case)))
    kinds: dict[str, list[tuple[str, int, float]]] = {}
    scores = []
    for name, parts in rows.items():
        whole = joined([p for _, p in parts])
        scores.append((whole.error, whole.winkler()))
        lines.append(
            f"| {name} | {', '.join(sorted({k for k, _ in parts}))} | {len(whole.mean)} | {whole.error:.2%}"
            f" | {whole.coverage:.0%} | {whole.width:.2%} | {whole.winkler():.2%} |"
        )
        for what in {k for k, _ in parts}:
            mine = joined([p for k, p in parts if k == what])
            kinds.setdefault(what, []).append((name, len(mine.mean), mine.coverage))
    error, score = np.mean(scores, axis=0)
    lines.append(f"| mean of {len(scores)} | | | {error:.2%} | | | {score:.2%} |")
    for name, table in tables.items():
        mine = old[name]["astraios"]
        kinds.setdefault(kind_of(table), []).append((name, len(mine.mean), mine.coverage))
    lines += [
        "\n| all open tables of | tables | coverage of 90% | lowest with ten points |",
        "| --- | --- | --- | --- |",
    ]
    for what, found in sorted(kinds.items()):
        lowest = min((c for _, n, c in found if n >= 10), default=float("nan"))
        lines.append(f"| {what} | {len(found)} | {np.mean([c for *_, c in found]):.1%} | {lowest:.0%} |")
    return lines


def joined(parts: list[Predicted]) -> Predicted:
    """Predictions of several cases as one."""
    return Predicted(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("observed", "mean", "low", "high"))
    )


def report(found: dict[str, dict[str, Predicted]]) -> list[str]:
    """Markdown: one row a method, error, coverage and interval score, mean over the tables and by table."""
    lines = []
    groups = {
        "seven tables of size and data": [n for n in found if n != "finetune"],
        "fine-tuning, 8 x more data": ["finetune"],
    }
    for title, names in groups.items():
        lines += [
            f"\n### {title}\n",
            "| method | relative error | coverage of 90% | lowest | width | interval score |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for method in dict.fromkeys(m for n in names for m in found[n]):
            rows = [found[n][method] for n in names if method in found[n]]
            if len(rows) < len(names):
                lines.append(f"| {method} | on {len(rows)} of {len(names)} tables only | | | | |")
                continue
            cells = [np.mean([getattr(r, key) for r in rows]) for key in ("error", "coverage", "width")]
            lines.append(
                f"| {method} | {cells[0]:.2%} | {cells[1]:.1%} | {min(r.coverage for r in rows):.0%} | {cells[2]:.2%}"
                f" | {np.mean([r.winkler() for r in rows]):.2%} |"
            )
    lines += ["\n### By table: relative error (coverage)\n"]
    methods = list(dict.fromkeys(m for row in found.values() for m in row))
    lines += ["| table | " + " | ".join(methods) + " |", "| --- " * (len(methods) + 1) + "|"]
    for name, row in found.items():
        cells = [f"{row[m].error:.2%} ({row[m].coverage:.0%})" if m in row else "" for m in methods]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
