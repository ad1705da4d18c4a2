"""Whether int8 keeps to its limit, as far as the answers to so many inputs can tell."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.metrics import answers_changed
from tinsmith_export.options import Options
from tinsmith_export.results import Exported, Outcome, Verdict
from tinsmith_report.statistics import (
    changed_p,
    changed_score,
    changed_upper,
    count_to_decide,
    paired_loss_p,
    paired_loss_score,
    paired_loss_upper,
)

_SIGNIFICANT = 0.05


def judge(
    reference: NDArray[Any], other: NDArray[Any], labels: NDArray[np.int64] | None, options: Options
) -> Verdict:
    """Judges outputs `(N, classes)` by the float model's, the reference.

    With labels, by `max_drop_pp`: the exact test is `paired_loss_p`, the interval Tango's. Without,
    by `max_changed_pp`: the exact binomial test, and Clopper and Pearson's interval.
    """
    lost, won = answers_changed(reference, other, labels)
    return judge_counts(lost, won, len(reference), labels is not None, options)


def judge_counts(lost: int, won: int, count: int, labels: bool, options: Options) -> Verdict:
    """As `judge`, by how many of `count` answers are lost and won; see `answers_changed`."""
    limit_pp = options.limit_pp(labels)
    limit = limit_pp / 100
    if labels:
        p, upper = paired_loss_p(lost, won, count, limit), paired_loss_upper(lost, won, count)
        score = float(paired_loss_score(lost, won, count, limit))
    else:
        p, upper = changed_p(lost, count, limit), changed_upper(lost, count)
        score = changed_score(lost, count, limit)
    # 0.29 * 100 is a little more than 29 in floats: the limit itself is within the limit.
    loss_pp, upper_pp = (round(100 * part, 9) for part in ((lost - won) / count, upper))
    outcome = Outcome.UNDECIDED
    if loss_pp > limit_pp and p < _SIGNIFICANT:
        outcome = Outcome.FAIL
    elif upper_pp <= limit_pp:
        outcome = Outcome.PASS
    decisive = count_to_decide(count, score) if outcome is Outcome.UNDECIDED else None
    return Verdict(
        outcome, labels, count, lost, won, loss_pp, upper_pp, limit_pp, p, decisive_count=decisive
    )


def by_verdict(
    verdicts: Mapping[str, Verdict], titles: Mapping[str, str]
) -> list[tuple[str, Verdict]]:
    """Each verdict once, with the titles of the targets that it is of."""
    found: dict[Verdict, list[str]] = {}
    for target, verdict in verdicts.items():
        found.setdefault(verdict, []).append(titles[target])
    return [(listed(names), verdict) for verdict, names in found.items()]


def listed(names: Sequence[str]) -> str:
    """One name, or several as a person lists them: `A, B and C`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def loss_text(verdict: Verdict) -> str:
    """What int8 loses, of how many inputs, and how sure that is."""
    interval = f"95 % interval up to {verdict.upper_pp:.2f}"
    if not verdict.labels:
        counted = f"{verdict.lost:,} of {verdict.count:,}"
        return f"{verdict.loss_pp:.2f} % of the answers changed ({interval}; {counted})"
    counted = f"of {verdict.count:,} answers {verdict.lost:,} lost, {verdict.won:,} won"
    return f"{verdict.loss_pp:.2f} points lost ({interval}; {counted})"


def limit_text(verdict: Verdict) -> str:
    """The limit, by the name of its option."""
    name = "--max-drop-pp" if verdict.labels else "--max-changed-pp"
    return f"{name} {verdict.limit_pp:g}"


def doubt_text(verdict: Verdict, who: str) -> str:
    """That the inputs are too few for an undecided verdict, and how many would do."""
    more = "no number of inputs would do"
    if verdict.decisive_count:
        more = f"about {verdict.decisive_count:,} would do"
    return (
        f"{verdict.count:,} inputs are too few for a verdict on {limit_text(verdict)} ({who}): "
        f"{more}"
    )


def failure_text(verdict: Verdict, who: str) -> str:
    """Why a verdict is no pass."""
    if verdict.outcome is Outcome.UNDECIDED:
        return f"--strict: {doubt_text(verdict, who)}"
    return f"{who}: {loss_text(verdict)}, more than {limit_text(verdict)}"


def advice(exported: Exported) -> str:
    """What may help where a gate failed; nothing where the loss is not the reason."""
    verdicts = [*exported.verdicts.values(), exported.float_choice]
    outcomes = {verdict.outcome for verdict in verdicts if verdict}
    if Outcome.FAIL in outcomes:
        recipe = exported.manifest.training.recipe
        tune = "more --qat-steps" if recipe == "qat" else "--recipe qat"
        if exported.attempts:
            tune = "a larger --budget"
        return (
            f"try {tune}, more calibration data of the kind that the board will see, or "
            "--keep-float auto; --sensitivity shows which layers lose most"
        )
    undecided = exported.failures and Outcome.UNDECIDED in outcomes
    return "try more evaluation data" if undecided else ""


def rejection(exported: Exported) -> str:
    """Why an export was rejected, what became of its bundle, and what may help, in one line."""
    kept = "no bundle written" if exported.bundle is None else f"kept in {exported.bundle}"
    text = f"{'; '.join(exported.failures)}: {kept}"
    more = advice(exported)
    return f"{text}; {more}" if more else text
