"""scikit-learn's handwritten digits, brought to MNIST's form: the dataset that needs no network."""

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.errors import DatasetError

# As in MNIST, a digit fills a box of 20 by 20 in the middle of 28 by 28 pixels.
_BOX, _MARGIN = 20, 4
_WHITE = 16  # the largest value in scikit-learn's 8 by 8 images
_TEST_EVERY = 4


def load_digits() -> tuple[
    tuple[NDArray[np.uint8], NDArray[np.int64]], tuple[NDArray[np.uint8], NDArray[np.int64]]
]:
    """Loads 1,343 training and 454 test digits.

    Every fourth image of each class is a test image: a split that is stratified, the same
    everywhere, and needs no random numbers.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images `uint8 (N, 28, 28)`, white ink on black,
        and labels `int64 (N,)`.

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DatasetError(
            "dataset `digits` needs scikit-learn: pip install 'tinsmith[compile]'"
        ) from error
    images, labels = datasets.load_digits(return_X_y=True)
    x = enlarge(images.reshape(-1, 8, 8).astype(np.int64))
    y = labels.astype(np.int64)
    is_test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        is_test[np.flatnonzero(y == label)[::_TEST_EVERY]] = True
    return (x[~is_test], y[~is_test]), (x[is_test], y[is_test])


def enlarge(images: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Brings digits of 8 by 8 to MNIST's size and range by bilinear interpolation.

    The arithmetic is in integers, so every machine gets the same bytes.

    Args:
        images: `int64 (N, 8, 8)`, values 0 to 16.

    Returns:
        `uint8 (N, 28, 28)`, values 0 to 255.
    """
    # Output pixel i lies at (i + 1/2) * 8/20 - 1/2 input pixels, which is (4 i - 3) / 10.
    weights = np.zeros((_BOX, 8), dtype=np.int64)
    for i in range(_BOX):
        left, tenths = divmod(4 * i - 3, 10)
        weights[i, max(left, 0)] += 10 - tenths
        weights[i, min(left + 1, 7)] += tenths
    scaled = weights @ images @ weights.T * 255
    full = 100 * _WHITE
    box = ((scaled + full // 2) // full).astype(np.uint8)
    return np.pad(box, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN)))
