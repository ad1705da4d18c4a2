"""What chance explains: the intervals of shares, McNemar's test, and the verdict made of them.

A board measures and counts; this is done at the desk, from the counts, since it needs scipy and
since a board is not to be trusted with it.
"""

from dataclasses import replace

from tinsmith_bench.estimate import Estimate
from tinsmith_bench.report import Report, Variant
from tinsmith_bench.verdict import verdict
from tinsmith_report.statistics import mcnemar_p, wilson


def wilson_estimate(part: int, total: int) -> Estimate:
    """A share, 0 to 1, with its Wilson interval at 95 %."""
    low, high = wilson(part, total)
    # At 0 % and 100 % one end equals the value exactly; rounding must not carry it past.
    share = part / total
    return Estimate(share, min(share, low), max(share, high))


def judged(report: Report) -> Report:
    """A report with intervals, p-values and verdict, whatever it had of them before."""
    variants = tuple(_variant(one, report.dataset.samples) for one in report.variants)
    comparisons = tuple(
        pair
        if pair.lost is None or pair.won is None
        else replace(pair, mcnemar_p=mcnemar_p(pair.lost, pair.won))
        for pair in report.comparisons
    )
    shipped = {bundle.name for bundle in report.bundles}
    others = [one.id for one in variants if one.bundle not in shipped]
    return replace(
        report,
        variants=variants,
        comparisons=comparisons,
        verdict=verdict(variants, comparisons, others),
    )


def _variant(one: Variant, samples: int) -> Variant:
    accuracy, fidelity = one.accuracy, one.fidelity
    if accuracy:
        accuracy = replace(
            accuracy,
            top1=wilson_estimate(accuracy.correct, samples),
            topk=wilson_estimate(round(accuracy.topk.value * samples), samples),
        )
    if fidelity and fidelity.agreement:
        agreement = wilson_estimate(samples - fidelity.flipped, samples)
        fidelity = replace(fidelity, agreement=agreement)
    return replace(one, accuracy=accuracy, fidelity=fidelity)
