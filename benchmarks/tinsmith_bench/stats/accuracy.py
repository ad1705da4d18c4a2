"""The accuracy of a variant, and whether a difference in accuracy is significant."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data import Accuracy, ClassAccuracy, Estimate, Regression, share_of
from tinsmith_bench.stats.intervals import RESAMPLES


def judge(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    names: Sequence[str],
    top_k: int,
    reference: NDArray[np.float32] | None,
) -> Accuracy:
    """Holds a classifier's outputs against the labels.

    Args:
        scores: `(N, classes)`, the largest is the guess.
        labels: `(N,)`, indices into `names`.
        names: of the classes.
        top_k: how many guesses `topk` has.
        reference: the float model's scores of the same samples, if there is one.
    """
    classes = scores.argmax(axis=1)
    right = classes == labels
    found = float_right = None
    if reference is not None:
        float_right = reference.argmax(axis=1) == labels
    per_class = []
    for index, name in enumerate(names):
        mine = labels == index
        if float_right is not None:
            found = int(np.sum(float_right & mine))
        per_class.append(ClassAccuracy(name, int(mine.sum()), int(np.sum(right & mine)), found))
    pairs, counts = np.unique(np.stack([labels, classes], axis=1), axis=0, return_counts=True)
    return Accuracy(
        correct=int(right.sum()),
        top1=share_of(int(right.sum()), len(labels)),
        topk=share_of(int(_in_top_k(scores, labels, top_k).sum()), len(labels)),
        wrong=tuple(int(index) for index in np.flatnonzero(~right)),
        classes=tuple(per_class),
        confusion=tuple(
            (int(label), int(guess), int(count))
            for (label, guess), count in zip(pairs, counts, strict=True)
        ),
    )


def _in_top_k(
    scores: NDArray[np.float32], labels: NDArray[np.int64], top_k: int
) -> NDArray[np.bool_]:
    """Whether the label is among the first guesses; of equal scores the first class wins."""
    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    before = np.arange(scores.shape[1]) < labels[:, np.newaxis]
    ahead = (scores > own) | ((scores == own) & before)
    result: NDArray[np.bool_] = ahead.sum(axis=1) < top_k
    return result


def sample_errors(values: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean absolute error of each sample, `(N,)`; both arrays are `(N, ...)`."""
    errors = np.abs(values.astype(np.float64) - targets)
    means: NDArray[np.float64] = errors.reshape(len(errors), -1).mean(axis=1)
    return means


def judge_values(
    values: NDArray[np.float32], targets: NDArray[np.float32], rng: np.random.Generator
) -> Regression:
    """Holds a regressor's outputs `(N, ...)` against targets of the same shape."""
    errors = sample_errors(values, targets)
    rmse = float(np.sqrt(np.mean((values.astype(np.float64) - targets) ** 2)))
    means = [float(errors[draw].mean()) for draw in _draws(len(errors), rng)]
    low, high = (float(end) for end in np.percentile(means, (2.5, 97.5)))
    return Regression(Estimate(float(errors.mean()), low, high), rmse)


def error_ratio(
    errors: NDArray[np.float64], reference: NDArray[np.float64], rng: np.random.Generator
) -> Estimate | None:
    """Ratio of two mean errors on the same samples, with its bootstrap interval at 95 %.

    Args:
        errors: the error of each sample, `(N,)`.
        reference: the error of each of the same samples.
        rng: draws the samples.

    Returns:
        `None` where one of the two makes no errors to speak of a ratio.
    """
    if not errors.any() or not reference.any():
        return None
    ratios = [
        float(errors[draw].mean() / reference[draw].mean())
        for draw in _draws(len(errors), rng)
        if errors[draw].any() and reference[draw].any()
    ]
    low, high = (float(end) for end in np.percentile(ratios, (2.5, 97.5)))
    return Estimate(float(errors.mean() / reference.mean()), low, high)


def _draws(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(count, size=(RESAMPLES, count))
