"""Signs that a model is given other inputs than it was trained on.

None is certain, so none stops an export; each says what to look at.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tf_keras
from numpy.typing import NDArray

from tinsmith_export.frontend.predict import run
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Affine
from tinsmith_export.metrics import top1
from tinsmith_export.outputs import side_by_side
from tinsmith_report.statistics import wilson
from tinsmith_runtime.batch import Arrays, parts, rows

_SMALL_FACTOR = 1 / 50  # 1/255, 1/127.5 and 1/128 scale pixels; 1/std of an image is above this
_SMALL_SPAN = 5.0  # of inputs that were scaled before: 2 of -1 to 1, 4.8 of ImageNet's deviations
_VARIANCE_RATIO = (
    100.0  # other data of the same kind stays far below; 255 times the values are 65,025
)
_PROBED = 64  # inputs

_CURE = "check --input-range or --preprocess, or how the calibration inputs were prepared"


def input_warnings(
    model: Any,
    graph: Graph,
    reals: Arrays,
    expected: Arrays,
    labels: NDArray[np.int64] | None,
) -> Iterator[str]:
    """Looks for signs that the inputs are not what the model was trained on.

    Args:
        model: the Keras model, or a `SavedModel`.
        graph: what was read of it, nothing rewritten.
        reals: `float32 (N, …)`, as many as the model has inputs, as it takes them.
        expected: `float32 (N, …)`, its answers.
        labels: `int64 (N,)`, where there are some: the model has one output.

    Returns:
        One line each.
    """
    several = len(graph.inputs) > 1
    for node, inputs in zip(graph.given, parts(reals), strict=True):
        low, high = float(inputs.min()), float(inputs.max())
        readers = graph.readers(node.name)
        if len(readers) == 1 and isinstance(readers[0], Affine):
            factor = float(np.median(np.abs(readers[0].factor)))
            if factor <= _SMALL_FACTOR and high - low <= _SMALL_SPAN:
                place = f" at input `{node.name}`" if several else ""
                yield (
                    f"the model begins{place} with a scaling by {factor:.3g}, but its inputs are "
                    f"already {low:.3g} to {high:.3g}: if it was trained on pixels 0 to 255, say "
                    "--input-range 0 255 (for float inputs: give them unscaled)"
                )
    yield from _other_statistics(model, rows(reals, slice(_PROBED)))
    if labels is not None:
        accuracy = top1(side_by_side(expected), labels)
        guessing = float(np.bincount(labels).max() / len(labels))
        if wilson(round(accuracy * len(labels)), len(labels))[0] <= guessing:
            yield (
                f"the float model itself is right on {accuracy:.2%} of the inputs, no better than "
                f"always naming the commonest class ({guessing:.2%}): {_CURE}, and the labels' "
                "order"
            )


def _other_statistics(model: Any, reals: Arrays) -> Iterator[str]:
    """Compares the first batch normalization's statistics with what it gets now."""
    library = tf_keras if isinstance(model, tf_keras.Model) else keras
    kind = library.layers.BatchNormalization
    layer = next((part for part in getattr(model, "layers", ()) if isinstance(part, kind)), None)
    if layer is None:
        return
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    if not mean.any() and (variance == 1).all():
        return  # never trained
    try:
        before = library.Model(model.inputs, layer.input)
    except (AttributeError, ValueError):  # it was taken out of another model, and begins there
        return
    found = side_by_side(run(before, reals))
    axes = tuple(range(found.ndim - 1))
    if found.shape[-1] != len(mean):
        return  # channels first
    ratio = float(np.median((found.var(axes) + layer.epsilon) / (variance + layer.epsilon)))
    if not 1 / _VARIANCE_RATIO < ratio < _VARIANCE_RATIO:
        yield (
            f"layer `{layer.name}` was trained on values whose variance is {1 / ratio:.3g} times "
            f"that of what it gets now: {_CURE}"
        )
