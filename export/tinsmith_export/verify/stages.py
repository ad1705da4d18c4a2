"""What each stage of the export cost, on evaluation data."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tinsmith_export.metrics import agreement, top1
from tinsmith_export.outputs import leveled, side_by_side
from tinsmith_report.statistics import cosine, sqnr_db
from tinsmith_runtime.batch import Arrays, count, joined, parts
from tinsmith_runtime.bundle import Stage
from tinsmith_runtime.executor import ACTIVATIONS


def accuracy_by_stage(
    expected: Arrays,
    stages: Mapping[str, Arrays],
    targets: Mapping[str, str],
    activations: Sequence[str],
    labels: NDArray[np.int64] | None,
    classes: bool,
) -> tuple[Stage, ...]:
    """Measures what each stage of the export cost.

    Args:
        expected: what the Keras model gives, `(N, …)` for each output.
        stages: stage to outputs before the activation, the rewritten model's first. This one is
            compared with the Keras model, the others, whose outputs are rounded, with this one.
        targets: of the stages that are int8 files, stage to the target's name.
        activations: what makes the Keras model's outputs of the rewritten one's.
        labels: `int64 (N,)`, where there are some.
        classes: whether the one output is logits of classes. SQNR and cosine of several are of all
            side by side, each measured by its own spread.
    """
    answers, size = side_by_side(expected), count(expected)
    accuracy = None if labels is None else top1(answers, labels)
    measured = [Stage("float", None, size, accuracy, 1.0 if classes else None, None, 1.0)]
    logits = next(iter(stages.values()))
    for name, found in stages.items():
        pair = (logits, found)
        if found is logits:
            pair = (expected, activated(logits, activations))
        reference, other = (leveled(outputs, pair[0]) for outputs in pair)
        measured.append(
            Stage(
                name,
                targets.get(name),
                size,
                None if labels is None else top1(side_by_side(found), labels),
                agreement(answers, side_by_side(found)) if classes else None,
                sqnr_db(reference, other),
                cosine(reference, other),
            )
        )
    return tuple(measured)


def activated(outputs: Arrays, activations: Sequence[str]) -> Arrays:
    """The Keras model's outputs, made of the rewritten one's."""
    found = zip(activations, parts(outputs), strict=True)
    return joined([ACTIVATIONS[name](output) for name, output in found])
