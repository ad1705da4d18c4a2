"""The network that a trial has chosen, of a family or by a function of the user's own.

Importing this module imports neither Keras nor TensorFlow; its functions do.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tinsmith_data.named import current_folder, import_named
from tinsmith_data.quiet import import_tensorflow
from tinsmith_runtime import UsageError

if TYPE_CHECKING:
    import optuna


def build_network(
    model: Mapping[str, Any], trial: "optuna.Trial", shape: tuple[int, int, int], classes: int
) -> Any:
    """Builds a `keras.Model` with fresh weights.

    Args:
        model: `Choice.model`.
        trial: what a function of the user's own gets.
        shape: height, width and channels of an image.
        classes: the number of outputs.

    Raises:
        UsageError: nothing is left of an image behind some block, there is no such function, or
            it raised or gave no model.
    """
    import_tensorflow()
    import keras

    # Keras counts the layers of each kind, for their names; and it would keep every graph.
    keras.utils.clear_session()
    if "function" in model:
        return _by_function(model["function"], trial)
    from tinsmith_train.architecture import Architecture, build

    settings: dict[str, Any] = {
        key: tuple(one) if isinstance(one, list) else one
        for key, one in model.items()
        if key != "size"  # of the data, which have it already
    }
    return build(Architecture(**settings), shape, classes)


@contextmanager
def without_warnings() -> Iterator[None]:
    """TensorFlow warns of what is computed anew for each network: here that is meant."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    import_tensorflow()  # which sets the level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _by_function(spec: str, trial: "optuna.Trial") -> Any:
    import keras

    function = import_named(spec)
    try:
        with current_folder():
            net = function(trial)
    except (Exception, SystemExit) as error:  # what runs is the user's
        raise UsageError(f"`{spec}` raised {type(error).__name__}: {error}") from error
    if not isinstance(net, keras.Model) or not net.built:
        raise UsageError(
            f"`{spec}`: expected a keras.Model that is built, got {type(net).__name__}"
        )
    return net
