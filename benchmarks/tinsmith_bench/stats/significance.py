"""Significance: the intervals of shares, and McNemar's test.

A board measures and counts; this is done on the workstation, from the counts, since it needs scipy
and since a board is not to be trusted with it.
"""

from dataclasses import replace

from tinsmith_bench.report_data import Comparison, Estimate, Report, Variant
from tinsmith_report.statistics import mcnemar_p, wilson


def wilson_estimate(part: int, total: int) -> Estimate:
    """A share, 0 to 1, with its Wilson interval at 95 %."""
    low, high = wilson(part, total)
    # At 0 % and 100 % one end equals the value exactly; rounding must not carry it past.
    share = part / total
    return Estimate(share, min(share, low), max(share, high))


def with_significance(report: Report) -> Report:
    """A report with Wilson intervals and McNemar's p, whatever it had of them before."""
    return replace(
        report,
        variants=tuple(_variant(one, report.dataset.samples) for one in report.variants),
        comparisons=tuple(map(_comparison, report.comparisons)),
    )


def _comparison(pair: Comparison) -> Comparison:
    if pair.lost is None or pair.won is None:
        return pair
    return replace(pair, mcnemar_p=mcnemar_p(pair.lost, pair.won))


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
