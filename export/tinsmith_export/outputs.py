"""Several outputs as one array, for measures that know one."""

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.batch import Array, Arrays, parts


def side_by_side(outputs: Arrays) -> Array:
    """Several outputs side by side, `(N, …)`; one stays as it is."""
    if not isinstance(outputs, tuple):
        return outputs
    return np.concatenate([output.reshape(len(output), -1) for output in outputs], axis=1)


def leveled(outputs: Arrays, reference: Arrays) -> Array:
    """Several outputs side by side, each divided by its own spread in a reference.

    A mean over all of it is the mean over the outputs of each one's mean, however many numbers it
    has. One output stays as it is.
    """
    if not isinstance(outputs, tuple):
        return outputs
    sizes = [output[0].size for output in outputs]
    level = sum(sizes) / len(sizes)
    return side_by_side(
        tuple(
            output * np.float32(np.sqrt(level / size) / spread(like))
            for output, size, like in zip(outputs, sizes, parts(reference), strict=True)
        )
    )


def squared_error(reference: Arrays, outputs: Arrays) -> float:
    """The mean squared error of outputs; of several the mean, each measured by its own spread."""
    error = leveled(outputs, reference) - leveled(reference, reference)
    return float(np.square(error).mean())


def spread(outputs: NDArray[np.float32]) -> float:
    """The standard deviation, but no zero."""
    return max(float(outputs.std()), 1e-8)
