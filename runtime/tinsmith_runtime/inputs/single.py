"""One sample of a model's input, whatever kind it is."""

from typing import Any

from numpy.typing import NDArray

from tinsmith_runtime.bundle import Input


def read_sample(entry: Input, sample: Any) -> NDArray[Any]:
    """Brings one sample to a model's input.

    Args:
        entry: the input.
        sample: of images as `read_image`, else as `read_features`.

    Raises:
        InputError: it does not fit.
        UsageError: there is no such file.
    """
    # What not every program needs is imported where it is used.
    if entry.preprocessing:
        from tinsmith_runtime.inputs.image import read_image

        return read_image(sample, entry.sample_shape, entry.preprocessing)
    from tinsmith_runtime.inputs.features import read_features

    return read_features(sample, entry.sample_shape)
