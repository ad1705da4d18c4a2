"""From the graph to tf_keras, the Keras that TensorFlow Model Optimization works on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tf_keras

from tinsmith_export.graph import Graph, Node

Wrap = Callable[[Node, Any], Any]


class Sum(tf_keras.layers.Add):  # type: ignore[misc]
    """An addition with an activation, which is one operator in TFLite."""

    def __init__(self, activation: str = "linear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = tf_keras.activations.get(activation)

    def call(self, inputs: Any) -> Any:
        """Adds tensors of one shape."""
        return self.activation(super().call(inputs))


def rebuild(graph: Graph, wrap: Wrap = lambda _, layer: layer) -> tf_keras.Model:
    """Builds the graph in tf_keras and copies its weights.

    Args:
        graph: a rewritten graph.
        wrap: what to make of each new layer before it is called; the quantizer hooks in here.

    Returns:
        A functional model, `float32 (None, H, W, C)` to logits.
    """
    tensors: dict[str, Any] = {}
    for node in graph.nodes:
        if node.kind == "InputLayer":
            source = tf_keras.Input(node.config["shape"], name=node.name)
            tensors[node.name] = wrap(node, lambda tensor: tensor)(source)
            continue
        kind = Sum if node.kind == "Add" else getattr(tf_keras.layers, node.kind)
        layer = kind(name=node.name, **node.config)
        inputs = [tensors[name] for name in node.inputs]
        if node.weights:
            layer.build(inputs[0].shape)
            layer.set_weights(list(node.weights.values()))
        tensors[node.name] = wrap(node, layer)(inputs if len(inputs) > 1 else inputs[0])
    # Without a name of its own, how many models came before would stand in the files.
    return tf_keras.Model(source, tensors[graph.nodes[-1].name], name="tinsmith")


def outputs_of(model: Any, inputs: np.ndarray[Any, Any], batch_size: int = 256) -> Any:
    """Runs a Keras model over inputs in batches.

    Args:
        model: of either Keras.
        inputs: `float32 (N, H, W, C)`.
        batch_size: how many at a time.

    Returns:
        `float32 (N, classes)`.
    """
    return model.predict(inputs, batch_size=batch_size, verbose=0)
