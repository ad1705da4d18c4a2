"""The scale of every tensor: branches of a sum or a product each have their own.

A sum and the tensors that it is made of have three scales, and two ratios between them that
`fractions` chooses. So one of the three may be given: by a sum before it or behind it, by an input,
a sigmoid, a concatenation. The other two follow. Of a product's three scales two are free.
"""

from collections.abc import Sequence
from math import prod

from tinsmith_export.errors import ConversionError
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Node
from tinsmith_export.quantize.fractions import Scales, product_scales, sum_scales
from tinsmith_export.quantize.groups import Group, Groups
from tinsmith_export.quantize.rules import range_rule


class ConflictError(Exception):
    """The scales of a sum or product are given, and are in no ratio in which it is exact.

    Args:
        node: what computes it.
        branch: what it reads and should be requantized.
    """

    def __init__(self, node: Node, branch: str) -> None:
        super().__init__(f"layer `{node.name}`: `{branch}` has to be requantized first")
        self.node, self.branch = node, branch


def choose_scales(graph: Graph, groups: Groups, most_coarse: float) -> dict[Group, float]:
    """Chooses the scale of each group of tensors.

    Args:
        graph: the layers.
        groups: their groups.
        most_coarse: how many times coarser than a branch whose scale is given the rest of a sum may
            be.

    Raises:
        ConflictError: a branch has to be requantized.
        ConversionError: no requantization would help.
    """
    choice = _Choice(graph, groups, most_coarse)
    pending = [node for node in graph.nodes if range_rule(node).branches != "none"]
    while pending:
        urgent = (one for one in pending if choice.urgency(one) == 0)
        node = next(urgent, None) or min(pending, key=choice.urgency)
        pending.remove(node)
        choice.choose(node)
    return {group: choice.wanted(group) for group in groups}


class _Choice:
    """The scales that are chosen already, at first those that are given."""

    def __init__(self, graph: Graph, groups: Groups, most_coarse: float) -> None:
        self._graph, self._groups, self._most_coarse = graph, groups, most_coarse
        self._chosen = {group: params.scale for group, params in groups.given.items()}
        self._exact: set[Scales] = set()  # of products

    def wanted(self, group: Group) -> float:
        """The scale that was chosen, or the finest that covers the observed range."""
        if group in self._chosen:
            return self._chosen[group]
        return self._groups.covering(group).scale

    def urgency(self, node: Node) -> int:
        """What is chosen first has the lowest: whatever one other scale is left to."""
        groups = self._of(node)
        free = {group for group in groups if group not in self._chosen}
        if range_rule(node).branches == "sum":
            return 0 if len(free) < len(set(groups)) else 1
        return 0 if len(free) <= 1 or groups[0] == groups[1] else 2

    def choose(self, node: Node) -> None:
        """Chooses the scales of a node's branches and of its output that are still free.

        Raises:
            ConflictError: too many of them are not.
        """
        rule = range_rule(node).branches
        scales = self._of_sum(node) if rule == "sum" else self._of_product(node)
        for group, scale in zip(self._of(node), scales, strict=True):
            self._chosen.setdefault(group, scale)
        if rule == "product":
            self._exact.add(scales)

    def _of_sum(self, node: Node) -> Scales:
        groups = self._of(node)
        one, other, output = map(self.wanted, groups)
        first, second, last = (group in self._chosen for group in groups)
        pairs = zip(node.inputs, (one, other), (first, second), strict=True)
        branches = {name: scale for name, scale, is_chosen in pairs if is_chosen}
        # The finer a branch is, the less it loses.
        finest = sorted(branches, key=lambda name: branches[name])
        if branches:
            too_fine = branches[finest[0]] * self._most_coarse < max(one, other, output)
            if too_fine or self._are_several(groups):
                raise ConflictError(node, finest[0])
        found = sum_scales((one, other, output), (first, second, last))
        return found or self._none(node, finest)

    def _are_several(self, groups: Sequence[Group]) -> bool:
        """Whether more than one scale was chosen; those of two sigmoids are one."""
        given = self._groups.given
        return len({given[g].scale if g in given else g for g in groups if g in self._chosen}) > 1

    def _of_product(self, node: Node) -> Scales:
        one, other, output = self._of(node)
        given = self.wanted(one), self.wanted(other), self.wanted(output)
        if {one, other, output} <= self._chosen.keys() and given in self._exact:
            return given  # as another step of a recurrent layer has them
        # All but one of those that are free have what they want; the output waits to the end.
        free = [group for group in (one, other, output) if group not in self._chosen]
        last = next((group for group in reversed(free) if self._once(group, node)), None)
        for group in free:
            if group != last:
                self._chosen[group] = self.wanted(group)
        smallest = sorted(node.inputs, key=lambda name: prod(self._graph.node(name).shape))
        if last is None:
            raise ConflictError(node, smallest[0])
        scales = self.wanted(one), self.wanted(other), self.wanted(output)
        fixed = one != last, other != last, output != last
        return product_scales(scales, fixed) or self._none(node, smallest)

    def _once(self, group: Group, node: Node) -> bool:
        return self._of(node).count(group) == 1

    def _none(self, node: Node, branches: Sequence[str]) -> Scales:
        """Asks for another branch, if that is not one which was asked for already."""
        for name in branches:
            if not name.startswith(f"{node.name}/input"):
                raise ConflictError(node, name)
        raise ConversionError(f"layer `{node.name}`: its branches and it lie too far apart")

    def _of(self, node: Node) -> tuple[Group, Group, Group]:
        one, other = node.inputs
        return self._groups.of(one), self._groups.of(other), self._groups.of(node.name)
