"""The Keras model itself as a competitor: entry point `keras` of `tinsmith.runners`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.quiet import import_tensorflow, silence
from tinsmith_runtime.errors import UsageError


class KerasRunner:
    """A Keras model, called through one compiled TensorFlow function: the fastest way it has.

    Attributes:
        engine_version: Keras's and TensorFlow's.
    """

    def __init__(self, path: Path, low: float, scale: float, threads: int) -> None:
        """Loads a `.keras` or `.h5` file; pixel `p` stands for `low + p * scale`.

        Raises:
            UsageError: TensorFlow has started in this process with another number of threads.
        """
        import_tensorflow()  # before anything else imports it, and lets it speak
        import keras
        import tensorflow as tf

        from tinsmith_export.frontend.load import load_keras

        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            if tf.config.threading.get_intra_op_parallelism_threads() != threads:
                raise UsageError(
                    "keras is measured with one number of --threads: TensorFlow keeps to it"
                ) from error
        self.engine_version = f"Keras {keras.__version__} on TensorFlow {tf.__version__}"
        with silence():
            model = load_keras(path)
            shape = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
            function = tf.function(lambda batch: model(batch, training=False), [shape])
            self._call, self._tensor = function.get_concrete_function(), tf.constant
        self._float_of_pixel = (low + np.arange(256) * scale).astype(np.float32)

    def encode(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Turns pixels into floats; features are floats already."""
        return self._float_of_pixel[inputs] if inputs.dtype == np.uint8 else inputs

    def run(self, encoded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calls the model."""
        outputs: NDArray[np.float32] = self._call(self._tensor(encoded)).numpy()
        return outputs

    def decode(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """They are what they stand for."""
        return outputs

    def predict(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """From raw inputs to what the model gives."""
        return self.run(self.encode(inputs))

    def answer(self, sample: NDArray[Any]) -> int:
        """The class of one raw input, or of values the largest one's index."""
        return int(self.predict(sample[np.newaxis])[0].argmax())

    def profile(self, encoded: NDArray[np.float32]) -> tuple[()]:
        """TensorFlow is not asked which operators it runs."""
        return ()

    def close(self) -> None:
        """Python frees it."""
