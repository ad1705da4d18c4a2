"""The sizes of a model's inputs."""

from typing import Any

from tinsmith_runtime.errors import TinsmithError, UsageError


def input_sizes(model: Any, input_shape: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """The shape of each input, without the batch.

    Args:
        model: as `prepared` gives it.
        input_shape: for a model with one input that takes several sizes.

    Raises:
        TinsmithError: the model takes several sizes, and none is given.
        UsageError: it takes another than the given one.
    """
    shapes = [tuple(source.shape)[1:] for source in model.inputs]
    if len(shapes) == 1:
        return [_size(model, shapes[0], input_shape)]
    if input_shape is not None:
        raise UsageError(
            f"--input-shape: the model has {len(shapes)} inputs, of their own shapes: leave it out"
        )
    for source, shape in zip(model.inputs, shapes, strict=True):
        if None in shape:
            raise TinsmithError(
                f"{model.name}: expected inputs of fixed sizes, got {shape} of `{source.name}`: "
                "give its Input layer the size that the board will see"
            )
    return shapes


def _size(
    model: Any, taken: tuple[int, ...], input_shape: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The shape of the one input."""
    given = input_shape or taken
    fits = len(taken) == len(given) and all(
        size in (None, wanted) for size, wanted in zip(taken, given, strict=True)
    )
    if not fits:
        raise UsageError(
            f"--input-shape: the model takes inputs of shape {taken}, not {given}: leave it out"
        )
    if None in given:
        raise TinsmithError(
            f"{model.name}: expected an input of a fixed size, got {taken}: "
            "say with --input-shape which size the board will see, for example "
            f"--input-shape {' '.join('96' if size is None else str(size) for size in taken)}"
        )
    return given
