"""A model as a function of TensorFlow."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tinsmith_data.quiet import silence
from tinsmith_export.frontend.savedmodel import SavedModel
from tinsmith_runtime.errors import TinsmithError


def as_function(model: Any, shapes: Sequence[tuple[int | None, ...]]) -> Any:
    """A model as one function of TensorFlow.

    Args:
        model: as `prepared` gives it.
        shapes: of its inputs, batch first.

    Raises:
        TinsmithError: a layer of it raises.
    """
    if isinstance(model, SavedModel):
        with silence():
            return model.function(shapes)
    was_eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # a function that XLA compiles would stay closed
    try:
        with silence():
            return tf.compat.v1.wrap_function(
                lambda *x: model(list(x) if len(x) > 1 else x[0], training=False),
                [tf.TensorSpec(shape, tf.float32, name="input") for shape in shapes],
            )
    except TinsmithError as error:
        first: BaseException = error  # Keras writes a call's arguments around what a layer says
        while isinstance(first.__context__, TinsmithError):
            first = first.__context__
        raise first from None
    except Exception as error:  # a layer of the user's own may raise anything
        raise TinsmithError(
            f"{model.name}: it cannot be called on inputs of shape "
            f"{', '.join(str(shape) for shape in shapes)}: {type(error).__name__}: {error}"
        ) from error
    finally:
        tf.config.run_functions_eagerly(was_eager)


def frozen(function: Any) -> Any:
    """A function whose variables are constants, and which calls no other."""
    return convert_variables_to_constants_v2(
        function, lower_control_flow=False, aggressive_inlining=True
    )
