"""The quantization parameters of every tensor."""

from collections.abc import Mapping

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.quantization import QuantParams
from tinsmith_export.quantize.branches import ConflictError, choose_scales
from tinsmith_export.quantize.groups import Groups, Observed


def share_ranges(
    graph: Graph, observed: Observed, inputs: Mapping[str, QuantParams]
) -> dict[str, QuantParams]:
    """Chooses the quantization parameters of every layer.

    Args:
        graph: from `separate`.
        observed: the observed range of each layer that computes new values.
        inputs: those of each input, by its name.

    Returns:
        Those of every layer, input and output, by name.

    Raises:
        ConversionError: the layers of a sum or product lie too far apart.
    """
    groups = Groups(graph, observed, inputs)
    try:
        scales = choose_scales(graph, groups, most_coarse=float("inf"))
    except ConflictError as conflict:
        raise ConversionError(str(conflict)) from None
    params = {
        group: groups.given.get(group) or groups.covering(group, scales[group]) for group in groups
    }
    return {node.name: params[groups.of(node.name)] for node in graph.nodes}
