"""The layers that are kept float, by name."""

from collections.abc import Sequence

from tinsmith_export.ir.graph import Graph
from tinsmith_export.quantize.rules import range_rule
from tinsmith_runtime.errors import UsageError


def require_layers(graph: Graph, names: Sequence[str]) -> None:
    """Checks that there can be layers of those names to keep float, before anything is calibrated.

    Args:
        graph: a rewritten graph. `separate` may add `NAME/input` to what reads several tensors.
        names: as `keep` of `quantize`.

    Raises:
        UsageError: no layer can have such a name.
    """
    rules = [(node.name, range_rule(node)) for node in graph.nodes]
    added = [
        f"{name}/input"
        for name, rule in rules
        if rule.shares or rule.symmetric or rule.branches != "none"
    ]
    for name in names:
        if not any(f"{one}/".startswith(f"{name}/") or name.startswith(one) for one in added):
            find_layers(graph, [name])


def find_layers(graph: Graph, keep: Sequence[str]) -> list[str]:
    """The layers that multiply by weights of those names; a Keras layer's name means all its parts.

    Raises:
        UsageError: no layer has such a name.
    """
    known = [node.name for node in graph.weighted]
    found: list[str] = []
    for name in keep:
        parts = [one for one in known if f"{one}/".startswith(f"{name}/")]
        if not parts:
            raise UsageError(
                f"--keep-float {name}: no such layer with weights; expected auto or one of "
                f"{', '.join(known)}"
            )
        found += parts
    return found
