"""What a way to int8 loses: counts, intervals and tests of its answers, and the row of a table."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from routes import Cost
from tinsmith_report.statistics import changed_p, decibels, mcnemar_p, sqnr_db, wilson
from tinsmith_runtime.executor import ACTIVATIONS

# Less likely by chance than 1 in 20 is called a loss.
SIGNIFICANT = 0.05
# Without labels, how many answers may change: tinsmith's own limit.
MAX_CHANGED = 0.02
COLUMNS = (
    *("model", "inputs", "route", "accuracy %", "lost pp", "p", "same class %"),
    *("SQNR dB, logits", "SQNR dB, probabilities", "CPU s", "peak MB", "kB", "holds"),
)
_WIDTH = 100  # of the reason why a route makes no file that runs
_RIVALS = ("tflite-ptq", "tflite-ptq-logits")


@dataclass(frozen=True, eq=False)
class Answers:
    """What a route's file gives for the evaluation data.

    Attributes:
        logits: `float32 (N, classes)`; `None` where the file gives probabilities.
        probabilities: `float32 (N, classes)`.
        cost: of the route.
    """

    logits: NDArray[np.float32] | None
    probabilities: NDArray[np.float32]
    cost: Cost

    @property
    def classes(self) -> NDArray[np.intp]:
        """The class of each input: of equal ones the first."""
        scores = self.probabilities if self.logits is None else self.logits
        return np.asarray(scores.argmax(axis=1))


@dataclass(frozen=True)
class Measurement:
    """A route against the float model, on the same inputs.

    Attributes:
        count: of the inputs.
        correct: how many it has right; `None` without labels.
        lost: how many only the float model has right; without labels, how many answers changed.
        won: how many only the route has right; 0 without labels.
        p: of McNemar's exact test; without labels, of the exact binomial test that more answers
            change than `MAX_CHANGED`.
        same: how many inputs get the float model's class.
        logits_db: SQNR of the logits; infinite where they are equal, `None` without logits.
        probabilities_db: SQNR of the probabilities, likewise.
        cost: of the route.
        reasons: why it does not hold, if so.
        ahead_db: of `ptq`, its SQNR over that of each file of TensorFlow's, of what that gives;
            and half the 95 % interval of that.
    """

    count: int
    correct: int | None
    lost: int
    won: int
    p: float
    same: int
    logits_db: float | None
    probabilities_db: float
    cost: Cost
    reasons: tuple[str, ...]
    ahead_db: tuple[tuple[float, float], ...] = ()


def as_answers(outputs: NDArray[np.float32], cost: Cost) -> Answers:
    """A file's outputs with the probabilities that they stand for."""
    if cost.activated:
        return Answers(None, outputs, cost)
    return Answers(outputs, ACTIVATIONS["softmax"](outputs), cost)


def measure(
    found: Mapping[str, Answers], labels: NDArray[np.int64] | None
) -> dict[str, Measurement]:
    """Compares each route with `float`, and tinsmith's `ptq` with TensorFlow's too.

    Args:
        found: the answers by the route's name, `float` among them.
        labels: `(N,)`, or none.
    """
    return {route: _measured(route, found, labels) for route in found}


def _measured(
    route: str, found: Mapping[str, Answers], labels: NDArray[np.int64] | None
) -> Measurement:
    reference, one = found["float"], found[route]
    truth = reference.classes if labels is None else labels
    right, also = reference.classes == truth, one.classes == truth
    lost, won = int((right & ~also).sum()), int((~right & also).sum())
    count = len(truth)
    p = changed_p(lost, count, MAX_CHANGED) if labels is None else mcnemar_p(lost, won)
    reasons: list[str] = []
    rivals: list[Answers] = []
    if route != "float" and lost > won and p < SIGNIFICANT:
        reasons.append("a significant loss")
    if route == "ptq":
        rivals = [found[name] for name in _RIVALS if name in found]
        if any(_is_behind(one, rival, reference) for rival in rivals):
            reasons.append("float's class significantly rarer than TensorFlow's")
    return Measurement(
        count=count,
        correct=None if labels is None else int(also.sum()),
        lost=lost,
        won=won,
        p=p,
        same=int((one.classes == reference.classes).sum()),
        logits_db=_noise_db(reference, one)[0],
        probabilities_db=_noise_db(reference, one)[1],
        cost=one.cost,
        reasons=tuple(reasons),
        ahead_db=tuple(_ahead_db(one, rival, reference) for rival in rivals),
    )


def _noise_db(reference: Answers, one: Answers) -> tuple[float | None, float]:
    def ratio(expected: NDArray[np.float32], got: NDArray[np.float32]) -> float:
        found = sqnr_db(expected, got)
        return math.inf if found is None else found

    logits = None
    if reference.logits is not None and one.logits is not None:
        logits = ratio(reference.logits, one.logits)
    return logits, ratio(reference.probabilities, one.probabilities)


def _ahead_db(one: Answers, rival: Answers, reference: Answers) -> tuple[float, float]:
    """SQNR over that of a rival, of what the rival's file gives; 0 where both are equal.

    Half its 95 % interval, too: the delta method for the logarithm of a ratio of two means, of the
    noise of each input.
    """

    def scores(each: Answers) -> NDArray[np.float32]:
        return each.probabilities if rival.logits is None or each.logits is None else each.logits

    mine, theirs = (
        np.square(scores(each).astype(np.float64) - scores(reference)).sum(axis=1)
        for each in (one, rival)
    )
    ahead = decibels(float(theirs.sum()), float(mine.sum()))
    if ahead is None and mine.any() == theirs.any():
        return 0.0, 0.0
    if ahead is None:  # one of them has no noise
        return math.inf if theirs.any() else -math.inf, 0.0
    deviation = (theirs / theirs.mean() - mine / mine.mean()).std() / math.sqrt(len(mine))
    return ahead, float(1.96 * 10 / math.log(10) * deviation)


def _is_behind(one: Answers, rival: Answers, reference: Answers) -> bool:
    """Whether a rival gives the float model's class significantly more often, by McNemar's test."""
    same, also = (each.classes == reference.classes for each in (rival, one))
    lost, won = int((same & ~also).sum()), int((~same & also).sum())
    return lost > won and mcnemar_p(lost, won) < SIGNIFICANT


def row(
    model: str, inputs: str, route: str, found: Sequence[Measurement], failure: str = ""
) -> str:
    """A row of the table: of one measurement with 95 % intervals, of several mean and worst.

    Args:
        model: its name.
        inputs: how many there were.
        route: its name.
        found: the measurements, one for each division of the data.
        failure: why there are none.
    """
    if failure:
        reason = failure.replace("`", "'").replace("|", "/")
        reason = f"`{reason[:_WIDTH]}{'…' * (len(reason) > _WIDTH)}`"
        return f"| {model} | {inputs} | {route} |{' - |' * (len(COLUMNS) - 4)} no: {reason} |"
    one = found[0]
    cells = [model, inputs, route]
    if one.correct is None:
        cells.append("-")
    else:
        cells.append(_share([each.correct or 0 for each in found], found))
    if route == "float":
        cells += ["-"] * 5
    else:
        lost = [100 * (each.lost - each.won) / each.count for each in found]
        p = min(each.p for each in found)
        cells += [
            _spread(lost, max, "+.2f"),
            f"{p:.2g}",
            _share([each.same for each in found], found),
            _spread([each.logits_db for each in found], min, ".1f"),
            _spread([each.probabilities_db for each in found], min, ".1f"),
        ]
    costs = [each.cost for each in found]
    cells += [
        f"{np.mean([cost.cpu_seconds for cost in costs]):,.1f}",
        f"{max(cost.peak_memory_mb for cost in costs):,.0f}",
        f"{max(cost.size_bytes for cost in costs) / 1000:,.0f}",
        "-" if route == "float" else _verdict(found),
    ]
    return f"| {' | '.join(cells)} |"


def _share(counts: Sequence[int], found: Sequence[Measurement]) -> str:
    """Percent with its interval, or mean and worst of several."""
    shares = [100 * part / each.count for part, each in zip(counts, found, strict=True)]
    if len(shares) > 1:
        return _spread(shares, min, ".2f")
    low, high = wilson(counts[0], found[0].count)
    return f"{shares[0]:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def _spread(
    values: Sequence[float | None], worst: Callable[[list[float]], float], form: str
) -> str:
    """A number; of several the mean, and the worst in brackets."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, end = (
        "equal" if math.isinf(value) else f"{value:{form}}"
        for value in (sum(known) / len(known), worst(known))
    )
    return f"{mean} ({end})" if len(known) > 1 else mean


def _verdict(found: Sequence[Measurement]) -> str:
    """Whether it holds: in each division, but by the mean SQNR; in how many that was lower, too."""
    reasons = dict.fromkeys(reason for each in found for reason in each.reasons)
    notes = dict.fromkeys(each.cost.note for each in found if each.cost.note)
    # Divisions may answer the same inputs: their intervals do not narrow that of the mean.
    ahead_db, half = min(
        (np.mean(rival, axis=0) for rival in zip(*(each.ahead_db for each in found), strict=True)),
        key=itemgetter(0),
        default=(0.0, 0.0),
    )
    lower = sum(min(each.ahead_db, default=(0.0, 0.0))[0] < 0 for each in found)
    if ahead_db < 0:
        reasons[f"SQNR {-ahead_db:.2f} ± {half:.2f} dB below TensorFlow's"] = None
    if lower and len(found) > 1:
        notes[f"SQNR below TensorFlow's in {lower} of {len(found)}"] = None
    return "; ".join(["no: " + ", ".join(reasons) if reasons else "yes", *notes])
