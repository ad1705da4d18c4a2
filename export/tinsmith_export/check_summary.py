"""What `tinsmith check` says on a terminal."""

from collections import Counter
from collections.abc import Iterator

from tinsmith_export.results import Checked, CheckedLayer, CheckedTarget
from tinsmith_export.summary import columns, shortened, wrapped
from tinsmith_runtime.errors import printable

# So many operators of a layer are named; of more their number is said.
_NAMED = 3


def check_summary(checked: Checked) -> list[str]:
    """A row a layer, what all of them take, and a line for each target's files."""
    lines = [line for reason in checked.refused for line in wrapped("refused", reason)]
    if not checked.refused:
        titles = {one.name: one.title for one in checked.targets if not one.refused}
        headings = ["layer", "class", "MACs", "weights", *titles.values()]
        lines += columns(headings, [_row(layer, list(titles)) for layer in checked.layers])
        lines += [
            "",
            f"total    {checked.macs:,} multiply-accumulates, {checked.weights:,} weights and "
            f"biases; {checked.model_parameters:,} parameters in Keras",
        ]
    for target in checked.targets:
        lines += _files(target)
    if any(layer.in_float for layer in checked.layers):
        lines.append("float    computed in float between two roundings: no integer kernel")
    return [printable(line) for line in lines]


def _row(layer: CheckedLayer, targets: list[str]) -> list[str]:
    return [
        shortened(layer.layer),
        shortened(layer.kind),
        f"{layer.macs:,}",
        f"{layer.weights:,}",
        *(_becomes(layer, target) for target in targets),
    ]


def _becomes(layer: CheckedLayer, target: str) -> str:
    """The operators of a layer in a target's file, in words."""
    found = Counter(layer.becomes[target])
    if not any(layer.becomes.values()):
        return "folded"
    if len(found) > _NAMED:
        text = f"{found.total()} operators"
    else:
        counts = found.items()
        text = ", ".join(name if n == 1 else f"{n} {name}" for name, n in counts) or "-"
    return f"float {text}" if target in layer.in_float else text


def _files(target: CheckedTarget) -> Iterator[str]:
    if target.refused:
        yield from wrapped("refused", f"{target.title}: {target.refused}")
        return
    said = [f"int8 about {target.int8_bytes:,} bytes"]
    if target.float_bytes is not None:
        said.append(f"float about {target.float_bytes:,}")
    if target.arena_bytes is not None:
        said.append(f"arena {target.arena_bytes:,}")
    yield f"file     {target.title:<8} {', '.join(said)}"
