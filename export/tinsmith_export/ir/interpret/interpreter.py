"""From a model's input codes to those of every node."""

# These two fill the table of operators.
import tinsmith_export.ir.interpret.images
import tinsmith_export.ir.interpret.tensors  # noqa: F401
from tinsmith_export.ir.interpret.operands import Operands, Values, compute
from tinsmith_export.ir.quantization import QuantGraph
from tinsmith_runtime.batch import Arrays, parts


def interpret(model: QuantGraph, inputs: Arrays) -> dict[str, Values]:
    """Computes every node of a model.

    Args:
        model: a quantized graph.
        inputs: for each input, in the graph's order, `int8 (N, …)`.

    Returns:
        The codes of every node, inputs and outputs too, `int8 (N, …)`, by its name; `float32` of
        the nodes whose output is not rounded.

    Raises:
        TypeError: an operator has no form in integers; rewriting takes those away.
        ConversionError: scales lie so far apart that XNNPACK does not take them.
    """
    given = zip(model.graph.inputs, parts(inputs), strict=True)
    found: dict[str, Values] = {node.name: codes for node, codes in given}
    for node in model.graph.layers:
        operands = Operands(
            tuple(found[name] for name in node.inputs),
            tuple(model.params[name] for name in node.inputs),
            model.params[node.name],
            model.weights.get(node.name),
            node.name not in model.unrounded,
        )
        found[node.name] = compute(node, operands)
    return found | {node.name: found[node.inputs[0]] for node in model.graph.outputs}
