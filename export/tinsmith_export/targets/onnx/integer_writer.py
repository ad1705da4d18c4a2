"""What an int8 ONNX file is made with.

It has the weights, scales and zero points that stand in the TFLite file. Activations are uint8 (a
code is 128 more than in TFLite): ONNX Runtime has integer kernels for these on every CPU.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from tinsmith_export.ir.embedding import Embedding
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.interpret.rounding import quantize
from tinsmith_export.ir.ops import (
    UNCLIPPED,
    Clipped,
    Conv2D,
    DepthwiseConv2D,
    Node,
    Weigh,
    Weighted,
)
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.targets.onnx.writer import FloatWriter
from tinsmith_export.targets.target import Product
from tinsmith_runtime.backends import unsigned


class IntegerWriter(FloatWriter):
    """Stores codes: every computation stands between DequantizeLinear and QuantizeLinear.

    ONNX Runtime makes one integer kernel of such a trio. Only what has no quantization parameters
    is stored as real numbers.
    """

    dtype = TensorProto.UINT8

    def __init__(
        self, graph: Graph, ranges: Mapping[str, QuantParams], products: Mapping[str, Product]
    ) -> None:
        super().__init__(graph)
        self._ranges, self._products = ranges, products

    def _params(self, name: str) -> list[str]:
        params = self._ranges[name]
        return [
            self.constant(f"{name}.output_scale", np.float32(params.scale)),
            self.constant(f"{name}.output_zero_point", np.uint8(params.zero_point + 128)),
        ]

    def reals(self, node: Node, index: int = 0) -> str:
        """See `FloatWriter.reals`."""
        codes, name = self.source(node, index), node.inputs[index]
        return self._reals(codes, name)

    def _reals(self, codes: str, name: str) -> str:
        if name not in self._ranges:
            return codes
        params = self._params(name)
        return self.call("DequantizeLinear", [codes, *params], f"{codes}.dequantized")

    def flat(self, node: Node) -> str:
        """See `FloatWriter.flat`."""
        return self._reals(super().flat(node), node.inputs[0])

    def channels_last_reals(self, node: Node, index: int = 0) -> str:
        """See `FloatWriter.channels_last_reals`."""
        return self._reals(super().channels_last_reals(node, index), node.inputs[index])

    def weights(self, node: Weighted, matrix: bool = False) -> list[str]:
        """See `FloatWriter.weights`."""
        product = self._products[node.name]
        if not product.integer:
            return super().weights(node, matrix)
        codes = product.weights
        if matrix:
            codes = codes[:, 0, 0]
        elif isinstance(node, Conv2D):
            codes = codes.transpose(0, 3, 1, 2)
        elif isinstance(node, DepthwiseConv2D):
            codes = codes[0].transpose(2, 0, 1)[:, None]
        zero_point = 0
        if node.shared:
            # On some x86 ONNX Runtime makes uint8 weights of int8 ones itself, and fails on the
            # second product that reads them.
            codes, zero_point = (codes.astype(np.int16) + 128).astype(np.uint8), 128
        bias_scale = np.float32(self._ranges[node.inputs[0]].scale) * product.weight_scale
        parts = {"weight": (codes, product.weight_scale, zero_point)}
        if product.bias is not None:
            parts["bias"] = (product.bias, bias_scale, 0)
        found, owner = [], self.owner(node, "int8")
        for part, (values, scale, zero) in parts.items():
            name = f"{owner}.{part}"
            scale = scale if scale.size > 1 else scale.reshape(())
            zeros = np.full(scale.shape, zero, values.dtype)
            inputs = [
                self.constant(name, values),
                self.constant(f"{name}_scale", scale),
                self.constant(f"{name}_zero_point", zeros),
            ]
            output = f"{node.name}.{part}.dequantized"
            found.append(self.call("DequantizeLinear", inputs, output, axis=0))
        return found

    def factor(self, node: Weigh) -> str:
        """See `FloatWriter.factor`."""
        # uint8, as the other factor: the integer kernel wants both alike.
        product = self._products[node.name]
        codes = (product.weights.astype(np.int16) + 128).astype(np.uint8).transpose(2, 0, 1)
        name = f"{node.name}.factor"
        inputs = [
            self.constant(name, codes),
            self.constant(f"{name}_scale", product.weight_scale.reshape(())),
            self.constant(f"{name}_zero_point", np.uint8(product.weight_zero_point + 128)),
        ]
        return self.call("DequantizeLinear", inputs, f"{name}.dequantized")

    def table(self, node: Embedding) -> str:
        """See `FloatWriter.table`."""
        codes = unsigned(quantize(node.table, self._ranges[node.name]))
        return self.constant(f"{node.name}.table", codes)

    def compute(self, kind: str, node: Node, inputs: list[str], **attributes: Any) -> str:
        """See `FloatWriter.compute`."""
        # The range of the codes is the clip.
        product = self._products.get(node.name)
        if product is not None and not product.integer:
            inputs = [self._unchanged(inputs[0]), *inputs[1:]]
        if node.name not in self._ranges:
            return self._unrounded(kind, node, inputs, **attributes)
        inner = self.call(kind, inputs, f"{node.name}.unrounded", **attributes)
        params = self._params(node.name)
        return self.call("QuantizeLinear", [inner, *params], f"{node.name}.output")

    def _unrounded(self, kind: str, node: Node, inputs: list[str], **attributes: Any) -> str:
        """Calls an operator whose output, real numbers, is stored as it is."""
        output = f"{node.name}.unrounded"
        if not isinstance(node, Clipped) or node.clip == UNCLIPPED:
            return self.call(kind, inputs, output, **attributes)
        inner = self.call(kind, inputs, f"{node.name}.unclipped", **attributes)
        return self.clip_reals(node, inner, output)

    def moved(self, kind: str, node: Node, inputs: list[str], **attributes: Any) -> str:
        """See `FloatWriter.moved`."""
        if node.name in self._ranges:
            return super().moved(kind, node, inputs, **attributes)
        return self.call(kind, inputs, f"{node.name}.unrounded", **attributes)

    def _unchanged(self, tensor: str) -> str:
        """The same numbers out of an operator that ONNX Runtime does not see through.

        It rounds the float weights of a product between DequantizeLinear and QuantizeLinear by
        itself (`WeightBiasQuantization`), to one scale for all channels.
        """
        lowest = self.constant(f"{tensor}.lowest", np.finfo(np.float32).min)
        return self.call("Max", [tensor, lowest], f"{tensor}.float")

    def clip(self, node: Clipped, tensor: str) -> str:
        """See `FloatWriter.clip`."""
        limit = self.constant(f"{node.name}.low", self._zero(node.name))
        return self.call("Clip", [tensor, limit], f"{node.name}.output")

    def zero(self, node: Node) -> Any:
        """See `FloatWriter.zero`."""
        name = node.inputs[0]
        return self._zero(name) if name in self._ranges else super().zero(node)

    def _zero(self, name: str) -> Any:
        return np.uint8(self._ranges[name].zero_point + 128)
