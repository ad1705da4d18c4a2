"""A Keras 3 model, layer by layer in tf_keras, as a user of TFMOT has to write it down again.

TFMOT refuses Keras 3 models (tensorflow/model-optimization#1119), and tf_keras refuses their
configurations: initializers, regularizers and newer arguments are left out.
"""

import inspect
from typing import Any

import keras
import tf_keras

from tinsmith_export.errors import UnsupportedLayerError

_DROPPED = ("_initializer", "_regularizer", "_constraint")


def copy_to_tf_keras(model: Any) -> tf_keras.Model:
    """Copies a model with all its layers and weights; one that is of tf_keras stays what it is.

    Args:
        model: functional or sequential, of Keras 3 or tf_keras.

    Raises:
        UnsupportedLayerError: a layer that tf_keras has not, or that is called twice.
    """
    if not isinstance(model, keras.Model):
        return model
    flat = keras.Model(model.inputs, model.outputs)
    sources = [tf_keras.Input(tensor.shape[1:], name=tensor.name) for tensor in flat.inputs]
    tensors = {id(old): new for old, new in zip(flat.inputs, sources, strict=True)}
    used = {node for nodes in flat._nodes_by_depth.values() for node in nodes}
    for layer in flat.operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        kind = type(layer).__name__
        twin = getattr(tf_keras.layers, kind, None)
        if twin is None or not isinstance(layer, keras.layers.Layer):
            raise UnsupportedLayerError(f"layer `{layer.name}` ({kind}) is not one of tf_keras")
        # A layer also remembers calls that did not become part of this model.
        calls = [node for node in layer._inbound_nodes if node in used]
        if len(calls) != 1:
            raise UnsupportedLayerError(f"layer `{layer.name}` ({kind}) is called twice")
        # TFMOT splits layers and has tf_keras name the new ones: `conv2d` may be a layer's already.
        copied = twin(name=f"{layer.name}_copy", **_arguments(layer, twin))
        (call,) = calls
        inputs = [tensors[id(tensor)] for tensor in call.arguments.keras_tensors]
        output = copied(inputs if len(inputs) > 1 else inputs[0])
        copied.set_weights(layer.get_weights())
        tensors[id(call.output_tensors[0])] = output
    return tf_keras.Model(sources, [tensors[id(tensor)] for tensor in flat.outputs])


def _arguments(layer: Any, twin: type) -> dict[str, Any]:
    """Of a layer's configuration what the constructor of its twin takes."""
    known = inspect.signature(twin).parameters
    return {
        key: value
        for key, value in layer.get_config().items()
        if key in known and key not in ("name", "dtype") and not key.endswith(_DROPPED)
    }
