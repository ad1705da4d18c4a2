"""An independent witness: the outputs of an ONNX file that tf2onnx makes of the Keras model.

It shares nothing with how the files that ship are made but what TensorFlow traces: neither the
graph, nor the rewrites, nor the writers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinsmith_data.quiet import silence
from tinsmith_export.errors import ConversionError
from tinsmith_export.frontend.function import as_function, frozen
from tinsmith_export.ir.ops import OutputLayer
from tinsmith_export.passes.parts import cut
from tinsmith_export.results import Witness
from tinsmith_export.targets.target import ModelFile
from tinsmith_export.verify.engines import run_batches, start_engine
from tinsmith_export.verify.stages import activated
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.batch import Arrays, count, joined, parts, rows

_OPSET = 17
_COUNT = 256
# Both sum float32 products in an order of their own: 1.2e-4 apart in a ResNet50 with random
# weights. A wrong operator or constant is wrong in the second digit.
LIMIT = 5e-4


def compare_with_witness(
    model: Any,
    files: Sequence[ModelFile],
    inputs: Arrays,
    reals: Arrays,
    answers: Sequence[OutputLayer],
) -> Witness:
    """Compares float files with what tf2onnx makes of the Keras model, on ONNX Runtime.

    Args:
        model: of Keras 3 or tf_keras, or a `SavedModel`.
        files: float ones.
        inputs: what the Keras model takes, `float32 (N, …)` each.
        reals: the same as the files take it.
        answers: the files' outputs.

    Raises:
        ConversionError: tf2onnx cannot convert the model, or ONNX Runtime cannot run that.
    """
    first = slice(_COUNT)
    expected = cut(answers, _witnessed(model, rows(inputs, first)))
    activations = [node.activation for node in answers]
    differences = {}
    for file in files:
        outputs = run_batches(start_engine(file), rows(reals, first))
        differences[file.target.name] = _difference(activated(outputs, activations), expected)
    return Witness(count(rows(inputs, first)), differences, LIMIT)


def _witnessed(model: Any, inputs: Arrays) -> Arrays:
    """What tf2onnx's file gives, `float32 (N, …)` each, in the order of the model's outputs."""
    function = frozen(as_function(model, [(None, *array.shape[1:]) for array in parts(inputs)]))
    sources, targets = function.inputs, function.outputs
    try:
        backend = create_backend("onnx", _to_onnx(function.graph, sources, targets), 1)
        fed = dict(zip(sources, parts(inputs), strict=True))
        found = run_batches(backend, joined([fed[source.name] for source in backend.inputs]))
        named = dict(zip((output.name for output in backend.outputs), parts(found), strict=True))
        return joined([named[name] for name in targets])
    except Exception as error:  # tf2onnx raises whatever it comes upon
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"--verify-onnx: tf2onnx made no file that runs: {first}") from error


def _to_onnx(graph: Any, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    import tf2onnx

    with silence():
        model, _ = tf2onnx.convert.from_graph_def(
            graph,
            input_names=list(inputs),
            output_names=list(dict.fromkeys(outputs)),
            opset=_OPSET,
            custom_op_handlers={"Erfc": (_write_erfc, [])},
        )
    data: bytes = model.SerializeToString()
    return data


def _write_erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Writes `erfc(x) = 1 - erf(x)`, which is half of a GELU: tf2onnx 1.17 does not know it."""
    known = {"shapes": node.output_shapes, "dtypes": node.output_dtypes}
    (output,), sources = node.output, list(node.input)
    context.remove_node(name)
    one = context.make_const(f"{name}/one", np.array(1, np.float32))
    error = context.make_node("Erf", sources, name=f"{name}/erf", **known)
    pair = [one.output[0], error.output[0]]
    context.make_node("Sub", pair, outputs=[output], name=name, **known)


def _difference(found: Arrays, expected: Arrays) -> float:
    """The largest difference of an output, in parts of the largest number that is above 1."""
    differences = [
        np.abs(output - wanted).max() / max(1.0, np.abs(wanted).max())
        for output, wanted in zip(parts(found), parts(expected), strict=True)
    ]
    return float(np.max(differences))  # unlike `max`, it gives the NaN of any output
