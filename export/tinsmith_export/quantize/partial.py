"""A model in which the rounding of each kernel and each output can be switched on and off."""

from collections.abc import Collection, Mapping
from typing import Any

import tensorflow as tf

from tinsmith_export.frontend.predict import run
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Clip, InputLayer, Node
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.fake_quantization import Rounding, rounded_kernels
from tinsmith_export.reference.rebuild import rebuild
from tinsmith_runtime.batch import Arrays


class SwitchedModel:
    """One model for any choice of what is rounded; at first nothing is.

    Args:
        graph: a quantized graph.
        ranges: of every layer and the input.
        bits: of the weights of each layer that has some.
    """

    def __init__(
        self, graph: Graph, ranges: Mapping[str, QuantParams], bits: Mapping[str, int]
    ) -> None:
        self._outputs: dict[str, _Switch] = {}

        def wrap(node: Node, layer: Any) -> Any:
            if not node.requantizes and not isinstance(node, InputLayer | Clip):
                return layer
            switch = _Switch(ranges[node.name], name=f"switch_{node.name}")
            self._outputs[node.name] = switch
            return lambda tensor: switch(layer(tensor))

        self._model = rebuild(graph, wrap)
        rounded = rounded_kernels(graph, ranges, bits)
        self._kernels = {}
        for node in graph.weighted:
            variable = getattr(self._model.get_layer(node.name), node.kernel_name)
            self._kernels[node.name] = variable, node.kernel, rounded.get(node.name, node.kernel)
        self._rounded: set[str] = set()

    def run(
        self,
        inputs: Arrays,
        kernels: Collection[str] | None = None,
        outputs: Collection[str] | None = None,
    ) -> Arrays:
        """Computes the model's outputs with some of it rounded.

        Args:
            inputs: `float32 (N, …)`, as many as the graph has.
            kernels: the layers whose weights are rounded; all if `None`.
            outputs: the layers whose outputs are rounded, the input among them; all if `None`.
        """
        kernels = self._kernels if kernels is None else kernels
        outputs = self._outputs if outputs is None else outputs
        for name, switch in self._outputs.items():
            switch.on.assign(name in outputs)
        changed = self._rounded ^ set(kernels)
        for name in changed:
            variable, exact, rounded = self._kernels[name]
            variable.assign(rounded if name in kernels else exact)
        self._rounded ^= changed
        return run(self._model, inputs)


class _Switch(Rounding):
    """Rounds a tensor while it is on."""

    def build(self, input_shape: Any) -> None:
        """Makes the switch."""
        self.on = tf.Variable(False, trainable=False)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """The tensor, rounded or as it is."""
        rounded = super().call
        return tf.cond(self.on, lambda: rounded(inputs, training), lambda: tf.identity(inputs))
