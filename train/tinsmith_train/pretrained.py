"""A network that somebody trained before, to begin with: its features, under a new head."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tinsmith_data.quiet import import_tensorflow
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.files import read_regular

_DROPOUT = 0.2
_MAX_BYTES = 2 << 30  # export opens no larger file either
_READERS = "tinsmith.readers"


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network.

    Attributes:
        path: of its file.
        sha256: of the file.
        model: a `keras.Model` of one input, images, and one output.
        input_range: what it takes for pixels 0 and 255.
    """

    path: Path
    sha256: str
    model: Any
    input_range: tuple[float, float]

    @property
    def shape(self) -> tuple[int | None, int | None, int]:
        """Height, width and channels of its images; `None` where it takes any."""
        height, width, channels = self.model.inputs[0].shape[1:]
        return height, width, channels

    def image_shape(self, size: int | None, standard: int) -> tuple[int, int, int]:
        """The shape that images of a folder are fitted to.

        Args:
            size: height and width that the user asks for, or `None`.
            standard: these, where neither the user nor the network says them.

        Raises:
            UsageError: the network takes another size.
        """
        height, width, channels = self.shape
        if size is not None and (height or size, width or size) != (size, size):
            raise UsageError(
                f"size: {self.path} takes images of {width} by {height}, got {size}: leave it out"
            )
        return height or size or standard, width or size or standard, channels


def load_network(
    path: Path, input_range: tuple[float, float] = (0.0, 1.0), verbose: bool = False
) -> Network:
    """Opens a trained network as `tinsmith export` does: nothing that its file carries is run.

    Args:
        path: a `.keras` file of Keras 3.
        input_range: what it takes for pixels 0 and 255.
        verbose: lets TensorFlow log.

    Raises:
        UsageError: there is no such file, or no network of images in it that Keras 3 saved.
        TinsmithError: the file is damaged, or it holds a layer that is not Keras's own, by name.
    """
    (reader,) = entry_points(group=_READERS, name="keras")
    import_tensorflow(verbose)
    import keras

    model = reader.load()(path)
    if not isinstance(model, keras.Model):
        raise UsageError(f"{path}: expected a .keras file of Keras 3: save it with Keras 3")
    ranks = [len(one.shape) for one in model.inputs]
    if ranks != [4] or model.inputs[0].shape[3] not in (1, 3) or len(model.outputs) != 1:
        raise UsageError(
            f"{path}: expected a network from images (H, W, 1) or (H, W, 3) to one output, got "
            f"inputs {[tuple(one.shape[1:]) for one in model.inputs]}"
        )
    sha256 = hashlib.sha256(read_regular(path, _MAX_BYTES)).hexdigest()
    return Network(path, sha256, model, input_range)


def with_new_head(network: Network, shape: tuple[int, int, int], classes: int) -> Any:
    """Puts a new head on a network: on its last pooling, or on what its last dense layer takes.

    Args:
        network: see `load_network`.
        shape: `(H, W, C)` of the images.
        classes: the number of outputs.

    Returns:
        A `keras.Model` from `float32 (N, H, W, C)`, pixels in 0..1, to `float32 (N, classes)`,
        probabilities. A copy of the network is one layer of it, itself a `keras.Model`; its random
        layers have seeds of their own, drawn now.

    Raises:
        UsageError: it takes other images, or has no features to learn from.
    """
    import keras
    from keras import layers

    _require_images(network, shape)
    image = keras.Input(shape, name="image")
    low, high = network.input_range
    x = layers.Rescaling(high - low, low, name="range")(image) if (low, high) != (0, 1) else image
    copy = keras.models.clone_model(network.model)
    copy.set_weights(network.model.get_weights())
    x = keras.Model(copy.inputs[0], _features(copy, network.path), name="network")(x)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(_DROPOUT, name="dropout")(x)
    output = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, output, name="fine_tuned")


def with_fresh_weights(network: Network, shape: tuple[int, int, int], classes: int) -> Any:
    """Gives a network's layers fresh weights, to train it from the start.

    Args:
        network: see `load_network`.
        shape: `(H, W, C)` of the images.
        classes: the number of outputs.

    Returns:
        A `keras.Model` from `float32 (N, H, W, C)`, pixels in 0..1, to `float32 (N, classes)`.

    Raises:
        UsageError: it takes other images, or does not end in a probability for each class.
    """
    import keras

    model = network.model
    _require_images(network, shape)
    if tuple(model.outputs[0].shape[1:]) != (classes,):
        raise UsageError(
            f"{network.path}: expected {classes} outputs, one for each class of the data, got "
            f"{tuple(model.outputs[0].shape[1:])}"
        )
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    if not isinstance(last, keras.layers.Softmax) and activation is not keras.activations.softmax:
        raise UsageError(
            f"{network.path}: expected probabilities, a softmax in the last layer, got "
            f"{last.name} without"
        )
    return keras.models.clone_model(model)


def _require_images(network: Network, shape: tuple[int, int, int]) -> None:
    wanted = network.shape
    if any(size not in (None, got) for size, got in zip(wanted, shape, strict=True)):
        raise UsageError(
            f"{network.path} takes images of {wanted}, the data are of {shape}: fit them to it"
        )


def _features(model: Any, path: Path) -> Any:
    from keras import layers

    found = model.outputs[0]
    pooling = layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D
    for layer in reversed(model.layers):
        if isinstance(layer, layers.Dense):
            found = layer.input
            break
        if isinstance(layer, pooling):
            found = layer.output
            break
    if len(found.shape) not in (2, 4):
        raise UsageError(
            f"{path}: expected a network whose last layers pool or are dense, got features "
            f"{tuple(found.shape)}"
        )
    return found
