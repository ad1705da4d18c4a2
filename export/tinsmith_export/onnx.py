"""From the graph to an ONNX file, int8 or float.

The int8 file has the weights, scales and zero points that stand in the TFLite file. Activations
are uint8 (a code is 128 more than in TFLite): ONNX Runtime has integer kernels for these on every
CPU. Images are channels first inside, as ONNX has them, and channels last outside.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tinsmith_export.graph import Graph, Node
from tinsmith_export.ranges import Range
from tinsmith_export.tflite import Product
from tinsmith_runtime.batch import numbered
from tinsmith_runtime.manifest import Input, Output

# ONNX Runtime has read both since 1.15 (2023).
OPSET, IR_VERSION = 17, 8
BATCH = "batch"
_CHANNELS_FIRST, _CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def to_onnx(graph: Graph, inputs: Sequence[str]) -> bytes:
    """Writes a float model.

    Args:
        graph: a rewritten graph.
        inputs: the names of its inputs.
    """
    return _Float(graph).save(inputs, {})


def to_int8_onnx(
    graph: Graph,
    ranges: Mapping[str, Range],
    products: Mapping[str, Product],
    sources: Sequence[Input],
    targets: Sequence[Output],
) -> bytes:
    """Writes an int8 model.

    Args:
        graph: the graph that was quantized.
        ranges: from `share_ranges`.
        products: layer name to what the TFLite file holds of it.
        sources: the model's inputs; scale and zero point go into the file's metadata, from where
            the runtime checks them.
        targets: the model's outputs, likewise.
    """
    metadata = {}
    tensors: dict[str, Sequence[Input | Output]] = {"input": sources, "output": targets}
    for side, found in tensors.items():
        for key, tensor in zip(numbered(side, len(found)), found, strict=True):
            metadata[f"{key}_scale"] = repr(tensor.scale)
            metadata[f"{key}_zero_point"] = str(tensor.zero_point)
    names = [source.name for source in sources]
    return _Integer(graph, ranges, products).save(names, metadata)


class _Float:
    """Writes node after node; `tensors` says where a node's output is."""

    dtype = TensorProto.FLOAT

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[onnx.NodeProto] = []
        self._made: set[str] = set()
        self._views: dict[str, tuple[str, tuple[int, ...]]] = {}  # a view to what it shows
        self._constants: dict[str, NDArray[Any]] = {}
        self.tensors: dict[str, str] = {}

    def save(self, inputs: Sequence[str], metadata: Mapping[str, str]) -> bytes:
        """Writes all and serializes it, the same bytes each time."""
        sources = dict(zip(inputs, self._graph.inputs, strict=True))
        targets = {node.config["name"]: node for node in self._graph.outputs}
        for name, node in sources.items():
            self.tensors[node.name] = self.to_channels_first(name, node.shape)
        for node in self._graph.layers:
            self.tensors[node.name] = _WRITERS[node.kind](self, node)
        last = {
            name: self.to_channels_last(self.tensors[node.inputs[0]], node.shape)
            for name, node in targets.items()
        }
        used = set(last.values())
        for call in reversed(self._nodes):
            if used.intersection(call.output):
                used.update(call.input)
        self._nodes = [call for call in self._nodes if used.intersection(call.output)]
        self._name_outputs(last)
        model = helper.make_model(
            helper.make_graph(
                self._nodes,
                "tinsmith",
                self._tensors(sources),
                self._tensors(targets),
                [
                    numpy_helper.from_array(np.asarray(values), name)
                    for name, values in self._constants.items()
                    if name in used
                ],
            ),
            producer_name="tinsmith",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _tensors(self, ends: Mapping[str, Node]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, self.dtype, [BATCH, *node.shape])
            for name, node in ends.items()
        ]

    def _name_outputs(self, outputs: Mapping[str, str]) -> None:
        """Calls tensors by the names of the outputs that they are."""
        renamed = {tensor: name for name, tensor in outputs.items()}
        for call in self._nodes:
            for names in (call.input, call.output):
                names[:] = [renamed.get(name, name) for name in names]
            if call.output[0] in outputs:
                call.name = f"{call.op_type}/{call.output[0]}"

    def _call(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        if output not in self._made:  # what several nodes read is made once
            self._made.add(output)
            self._nodes.append(
                helper.make_node(kind, inputs, [output], name=f"{kind}/{output}", **attributes)
            )
        return output

    def constant(self, name: str, values: Any) -> str:
        """Stores a constant tensor."""
        self._constants[name] = np.asarray(values)
        return name

    def moved(self, kind: str, node: Node, inputs: list[str], **attributes: Any) -> str:
        """Calls an operator that only moves values: it takes codes as they are."""
        return self._call(kind, inputs, f"{node.name}.output", **attributes)

    def source(self, node: Node, index: int = 0) -> str:
        """The tensor that a node reads, as it is stored."""
        return self.tensors[node.inputs[index]]

    def reals(self, node: Node, index: int = 0) -> str:
        """The tensor that a node reads, as real numbers."""
        return self.source(node, index)

    def view(self, tensor: str, old: tuple[int, ...], new: tuple[int, ...]) -> str:
        """Gives a tensor `(N, *old)` the shape `(N, *new)`; a view of a view is one view."""
        base, shape = self._views.get(tensor, (tensor, old))
        if new == shape:
            return base
        output = f"{base}.{'x'.join(map(str, new))}"
        self._views[output] = base, shape
        sizes = self.constant(f"{output}.shape", np.array([-1, *new]))
        return self._call("Reshape", [base, sizes], output)

    def flat(self, node: Node) -> str:
        """The channels of the one place that a node reads, `(N, C)`, as real numbers."""
        channels = self._graph.node(node.inputs[0]).shape[-1]
        return self.view(self.source(node), (channels, 1, 1), (channels,))

    def weights(self, node: Node, matrix: bool = False) -> list[str]:
        """Kernel and bias of a product, as real numbers, in ONNX's layout."""
        found = {"weight": node.kernel} | (
            {"bias": node.weights["bias"]} if "bias" in node.weights else {}
        )
        if matrix:
            found["weight"] = found["weight"][0, 0].T
        elif node.kind == "Conv2D":
            found["weight"] = found["weight"].transpose(3, 2, 0, 1)
        else:
            found["weight"] = found["weight"].transpose(2, 0, 1)[:, None]
        return [self.constant(f"{node.name}.{part}", v) for part, v in found.items()]

    def factor(self, node: Node) -> str:
        """The constant that a `Weigh` multiplies by, `(1, H, W)`."""
        return self.constant(f"{node.name}.factor", node.weights["factor"].transpose(2, 0, 1))

    def compute(self, kind: str, node: Node, inputs: list[str], **attributes: Any) -> str:
        """Calls an operator on real numbers and gives what is stored of its output."""
        low, high = node.clip
        output = f"{node.name}.output"
        if (low, high) == (None, None):
            return self._call(kind, inputs, output, **attributes)
        inner = self._call(kind, inputs, f"{node.name}.unclipped", **attributes)
        return self.clip(node, inner)

    def clip(self, node: Node, tensor: str) -> str:
        """Clips a stored tensor."""
        low, high = node.clip
        if (low, high) == (0, None):
            return self._call("Relu", [tensor], f"{node.name}.output")
        limits = [
            "" if v is None else self.constant(f"{node.name}.{side}", np.float32(v))
            for side, v in (("low", low), ("high", high))
        ]
        return self._call("Clip", [tensor, *limits], f"{node.name}.output")

    def step(self, kind: str, node: Node, part: str, inputs: list[str], **attributes: Any) -> str:
        """Calls an operator on real numbers in the middle of a node."""
        return self._call(kind, inputs, f"{node.name}.{part}", **attributes)

    def to_channels_first(self, tensor: str, shape: tuple[int, ...]) -> str:
        """Turns `(N, H, W, C)` into `(N, C, H, W)`; other ranks stay."""
        return self._turn(tensor, shape, f"{tensor}.channels_first", _CHANNELS_FIRST)

    def to_channels_last(self, tensor: str, shape: tuple[int, ...]) -> str:
        """Turns `(N, C, H, W)` into `(N, H, W, C)`; other ranks stay."""
        return self._turn(tensor, shape, f"{tensor}.channels_last", _CHANNELS_LAST)

    def _turn(
        self, tensor: str, shape: tuple[int, ...], output: str, order: tuple[int, ...]
    ) -> str:
        if len(shape) != 3:
            return tensor
        if 1 in (shape[-1], shape[0] * shape[1]):  # nothing moves: a view will do
            height, width, channels = shape
            turned = (channels, height, width)
            first = order == _CHANNELS_FIRST
            return self.view(tensor, *((shape, turned) if first else (turned, shape)))
        return self._call("Transpose", [tensor], output, perm=order)

    def zero(self, node: Node) -> Any:
        """What stands for zero in the tensor that a node reads."""
        return np.float32(0)


class _Integer(_Float):
    """Stores codes: every computation stands between DequantizeLinear and QuantizeLinear.

    ONNX Runtime makes one integer kernel of such a trio.
    """

    dtype = TensorProto.UINT8

    def __init__(
        self, graph: Graph, ranges: Mapping[str, Range], products: Mapping[str, Product]
    ) -> None:
        super().__init__(graph)
        self._ranges, self._products = ranges, products

    def _grid(self, name: str) -> list[str]:
        span = self._ranges[name]
        return [
            self.constant(f"{name}.output_scale", np.float32(span.scale)),
            self.constant(f"{name}.output_zero_point", np.uint8(span.zero_point + 128)),
        ]

    def reals(self, node: Node, index: int = 0) -> str:
        codes, name = self.source(node, index), node.inputs[index]
        return self._reals(codes, name)

    def _reals(self, codes: str, name: str) -> str:
        grid = self._grid(name)
        return self._call("DequantizeLinear", [codes, *grid], f"{codes}.dequantized")

    def flat(self, node: Node) -> str:
        return self._reals(super().flat(node), node.inputs[0])

    def weights(self, node: Node, matrix: bool = False) -> list[str]:
        product = self._products[node.name]
        if not product.integer:
            return super().weights(node, matrix)
        codes = product.weights
        if matrix:
            codes = codes[:, 0, 0]
        elif node.kind == "Conv2D":
            codes = codes.transpose(0, 3, 1, 2)
        elif node.kind == "DepthwiseConv2D":
            codes = codes[0].transpose(2, 0, 1)[:, None]
        bias_scale = np.float32(self._ranges[node.inputs[0]].scale) * product.weight_scale
        parts = {"weight": (codes, product.weight_scale)}
        if product.bias is not None:
            parts["bias"] = (product.bias, bias_scale)
        found = []
        for part, (values, scale) in parts.items():
            name = f"{node.name}.{part}"
            scale = scale if scale.size > 1 else scale.reshape(())
            inputs = [self.constant(name, values), self.constant(f"{name}_scale", scale)]
            zeros = np.zeros(scale.shape, values.dtype)
            inputs.append(self.constant(f"{name}_zero_point", zeros))
            found.append(self._call("DequantizeLinear", inputs, f"{name}.dequantized", axis=0))
        return found

    def factor(self, node: Node) -> str:
        # uint8, as the other factor: the integer kernel wants both alike.
        product = self._products[node.name]
        codes = (product.weights.astype(np.int16) + 128).astype(np.uint8).transpose(2, 0, 1)
        name = f"{node.name}.factor"
        inputs = [
            self.constant(name, codes),
            self.constant(f"{name}_scale", product.weight_scale.reshape(())),
            self.constant(f"{name}_zero_point", np.uint8(product.weight_zero_point + 128)),
        ]
        return self._call("DequantizeLinear", inputs, f"{name}.dequantized")

    def compute(self, kind: str, node: Node, inputs: list[str], **attributes: Any) -> str:
        # The range of the codes is the clip.
        product = self._products.get(node.name)
        if product is not None and not product.integer:
            inputs = [self._unchanged(inputs[0]), *inputs[1:]]
        inner = self._call(kind, inputs, f"{node.name}.unrounded", **attributes)
        grid = self._grid(node.name)
        return self._call("QuantizeLinear", [inner, *grid], f"{node.name}.output")

    def _unchanged(self, tensor: str) -> str:
        """The same numbers out of an operator that ONNX Runtime does not see through.

        It rounds the float weights of a product between DequantizeLinear and QuantizeLinear by
        itself (`WeightBiasQuantization`), to one scale for all channels.
        """
        lowest = self.constant(f"{tensor}.lowest", np.finfo(np.float32).min)
        return self._call("Max", [tensor, lowest], f"{tensor}.float")

    def clip(self, node: Node, tensor: str) -> str:
        limit = self.constant(f"{node.name}.low", self._zero(node.name))
        return self._call("Clip", [tensor, limit], f"{node.name}.output")

    def zero(self, node: Node) -> Any:
        return self._zero(node.inputs[0])

    def _zero(self, name: str) -> Any:
        return np.uint8(self._ranges[name].zero_point + 128)


def _pads(node: Node, source: Node, size: tuple[int, ...], dilation: Any = (1, 1)) -> list[int]:
    """Padding before and after rows and columns, as TensorFlow's "same" has it."""
    if node.config["padding"] != "same":
        return [0, 0, 0, 0]
    pads = []
    for axis in (0, 1):
        reach = (size[axis] - 1) * dilation[axis] + 1
        step = node.config["strides"][axis]
        total = max((node.shape[axis] - 1) * step + reach - source.shape[axis], 0)
        pads.append((total // 2, total - total // 2))
    return [*(before for before, _ in pads), *(after for _, after in pads)]


def _convolution(writer: _Float, node: Node) -> str:
    graph, pads = writer._graph, np.zeros(4, np.int64)
    source = graph.node(node.inputs[0])
    if source.shape[:2] == node.kernel.shape[:2] == (1, 1) and node.config.get("groups") == 1:
        return _dense(writer, node)
    reader = node
    while source.kind == "ZeroPadding2D" and node.config["padding"] == "valid":
        (top, bottom), (left, right) = source.config["padding"]
        pads += (top, left, bottom, right)
        reader, source = source, graph.node(source.inputs[0])
    kernel, dilation = node.kernel.shape[:2], node.config["dilation_rate"]
    pads += np.array(_pads(node, source, kernel, dilation))
    depthwise = node.kind == "DepthwiseConv2D"
    return writer.compute(
        "Conv",
        node,
        [writer.reals(reader), *writer.weights(node)],
        kernel_shape=kernel,
        strides=node.config["strides"],
        dilations=dilation,
        pads=pads.tolist(),
        group=source.shape[-1] if depthwise else node.config["groups"],
    )


def _dense(writer: _Float, node: Node) -> str:
    """A 1 x 1 convolution of one place is a matrix product, which takes a batch in one go."""
    flat = writer.flat(node)
    kernel, *bias = writer.weights(node, matrix=True)
    rows = writer.compute("Gemm", node, [flat, kernel, *bias], transB=1)
    channels = node.shape[-1]
    return writer.view(rows, (channels,), (channels, 1, 1))


def _both(kind: str) -> Callable[[_Float, Node], str]:
    return lambda writer, node: writer.compute(
        kind, node, [writer.reals(node, 0), writer.reals(node, 1)]
    )


def _weigh(writer: _Float, node: Node) -> str:
    return writer.compute("Mul", node, [writer.reals(node), writer.factor(node)])


def _function(writer: _Float, node: Node) -> str:
    function, x = node.config["function"], writer.reals(node)
    if function != "gelu":
        return writer.compute(function.capitalize(), node, [x])
    half, one, root = (
        writer.constant(f"{node.name}.{name}", np.float32(value))
        for name, value in (("half", 0.5), ("one", 1), ("root", np.sqrt(2)))
    )
    scaled = writer.step("Div", node, "scaled", [x, root])
    error = writer.step("Erf", node, "erf", [scaled])
    gate = writer.step("Add", node, "gate", [error, one])
    product = writer.step("Mul", node, "product", [x, gate])
    return writer.compute("Mul", node, [product, half])


def _layer_norm(writer: _Float, node: Node) -> str:
    """Over the channels, which ONNX's operator wants last."""
    turned = writer.to_channels_last(writer.source(node), node.shape)
    x = writer._reals(turned, node.inputs[0]) if isinstance(writer, _Integer) else turned
    weights = [
        writer.constant(f"{node.name}.{part}", node.weights[part]) for part in ("gamma", "beta")
    ]
    normal = writer.compute(
        "LayerNormalization", node, [x, *weights], axis=-1, epsilon=node.config["epsilon"]
    )
    return writer.to_channels_first(normal, node.shape)


def _max_pool(writer: _Float, node: Node) -> str:
    source, size = writer._graph.node(node.inputs[0]), node.config["pool_size"]
    return writer.moved(
        "MaxPool",
        node,
        [writer.source(node)],
        kernel_shape=size,
        strides=node.config["strides"],
        pads=_pads(node, source, size),
    )


def _zero_padding(writer: _Float, node: Node) -> str:
    (top, bottom), (left, right) = node.config["padding"]
    amounts = writer.constant(
        f"{node.name}.amounts", np.array([0, 0, top, left, 0, 0, bottom, right])
    )
    zero = writer.constant(f"{node.name}.zero", writer.zero(node))
    return writer.moved("Pad", node, [writer.source(node), amounts, zero])


def _cropping(writer: _Float, node: Node) -> str:
    (top, _), (left, _) = node.config["cropping"]
    parts = {"first": (top, left), "end": (top + node.shape[0], left + node.shape[1])}
    limits = [
        writer.constant(f"{node.name}.{name}", np.array(values)) for name, values in parts.items()
    ]
    axes = writer.constant(f"{node.name}.axes", np.array([2, 3]))
    return writer.moved("Slice", node, [writer.source(node), *limits, axes])


def _upsampling(writer: _Float, node: Node) -> str:
    scales = writer.constant(f"{node.name}.scales", np.array([1, 1, *node.config["size"]], "f4"))
    return writer.moved(
        "Resize",
        node,
        [writer.source(node), "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _depth_to_space(writer: _Float, node: Node) -> str:
    return writer.moved(
        "DepthToSpace", node, [writer.source(node)], blocksize=node.config["block"], mode="DCR"
    )


def _reshape(writer: _Float, node: Node) -> str:
    source = writer._graph.node(node.inputs[0])
    flat = writer.to_channels_last(writer.source(node), source.shape)
    return writer.to_channels_first(writer.view(flat, source.shape, node.shape), node.shape)


def _concatenate(writer: _Float, node: Node) -> str:
    tensors = [writer.source(node, index) for index in range(len(node.inputs))]
    return writer.moved("Concat", node, tensors, axis=1 if len(node.shape) == 3 else -1)


_WRITERS: dict[str, Callable[[_Float, Node], str]] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "Add": _both("Add"),
    "Multiply": _both("Mul"),
    "Weigh": _weigh,
    "Function": _function,
    "LayerNormalization": _layer_norm,
    "Clip": lambda writer, node: writer.clip(node, writer.source(node)),
    "Concatenate": _concatenate,
    "MaxPooling2D": _max_pool,
    "ZeroPadding2D": _zero_padding,
    "Cropping2D": _cropping,
    "UpSampling2D": _upsampling,
    "DepthToSpace": _depth_to_space,
    "Reshape": _reshape,
}
