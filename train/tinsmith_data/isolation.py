"""Work that a caller's program neither changes nor is changed by.

`train` and `compile_model` are called from programs that have seeds, settings and random numbers of
their own. What is global in Python, numpy, TensorFlow and Keras is set for the work and put back
after it, however that ends. One thing stays: `TF_CPP_MIN_LOG_LEVEL`, see `quiet.import_tensorflow`.
"""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinsmith_runtime.errors import UsageError


@contextlib.contextmanager
def isolated(seed: int, *libraries: Any) -> Iterator[None]:
    """Seeds everything random and settles how Keras computes; puts all of it back.

    Functions of TensorFlow are compiled meanwhile, though the caller has them run line by line:
    that would take hours, and is for finding mistakes in one's own functions.

    Args:
        seed: for Python, numpy and TensorFlow.
        libraries: of the two Kerases those whose layers are made: they compute in float32, channels
            last, whatever `keras.json` or the caller says.

    Raises:
        UsageError: TensorFlow executes nothing eagerly here.
    """
    import tensorflow as tf

    if not tf.executing_eagerly():
        raise UsageError(
            "expected TensorFlow 2 as it starts, got it without eager execution: call this outside "
            "of a tf.Graph and of a tf.function"
        )
    with contextlib.ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.enter_context(_tensorflow_seed(tf))
        random.seed(seed)
        np.random.seed(seed)
        tf.random.set_seed(seed)
        was_eager = tf.config.functions_run_eagerly()
        _change(stack, tf.config.run_functions_eagerly, was_eager, False)
        for library in libraries:
            policy = library.mixed_precision
            _change(stack, policy.set_global_policy, policy.global_policy(), "float32")
            backend = library.backend
            _change(stack, backend.set_floatx, backend.floatx(), "float32")
            order = backend.image_data_format()
            _change(stack, backend.set_image_data_format, order, "channels_last")
        yield


def _change(
    stack: contextlib.ExitStack, put: Callable[[Any], object], before: Any, now: Any
) -> None:
    """Sets something until the stack is left."""
    put(now)
    stack.callback(put, before)


@contextlib.contextmanager
def _tensorflow_seed(tf: Any) -> Iterator[None]:
    """Puts back TensorFlow's seed, and how many operators have drawn from it."""
    from tensorflow.python.eager import context  # no public function tells the seed

    seed = context.global_seed()
    state = None if seed is None else context.context()._rng.getstate()
    try:
        yield
    finally:
        tf.random.set_seed(seed)
        if state is not None:
            context.context()._rng.setstate(state)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Has TensorFlow's operators give the same bits each time; puts back what was before."""
    import tensorflow as tf
    from tensorflow.python.framework import config  # what switches it off again is not public

    before = config.is_op_determinism_enabled()
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()
