"""What a model answers of one sample: classes or boxes."""

from tinsmith_runtime.record import frozen_dataclass


@frozen_dataclass(frozen=True)
class Prediction:
    """A class and the probability (0..1) that the model gives it."""

    label: str
    probability: float


@frozen_dataclass(frozen=True)
class Detection:
    """A class, its probability (0..1) and its box: left, top, right, bottom.

    The box is in pixels of the photo, upright as EXIF says, and within it: 0 is its left or top
    side, its width or height the other.
    """

    label: str
    probability: float
    box: tuple[float, float, float, float]


def rank(probabilities: list[float], labels: tuple[str, ...], top: int | None) -> list[Prediction]:
    """Gives the `top` most probable classes, or all, of the probability of each."""
    order = sorted(range(len(labels)), key=probabilities.__getitem__, reverse=True)[:top]
    return [Prediction(labels[i], probabilities[i]) for i in order]
