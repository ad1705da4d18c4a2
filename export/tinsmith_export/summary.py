"""What an export says on a terminal: lines of at most 100 characters."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tinsmith_export.metrics import wilson
from tinsmith_export.results import Exported, Sensitivity
from tinsmith_runtime.bundle import Manifest, Parity, Rung
from tinsmith_runtime.errors import printable

_NAME_WIDTH = 32


def summary(exported: Exported, out: Path) -> list[str]:
    """Says what an export gave: what it cost, where integers are, how far the engines agree."""
    manifest, quality = exported.manifest, exported.manifest.quality
    seven = sum(layer.weight_bits == 7 for layer in manifest.layers)
    kept = [layer.name for layer in manifest.layers if layer.weight_bits == 32]
    kernels = ", ".join(f"{count} {name}" for name, count in exported.kernels.items())
    lines = [*_ladder(manifest), *_tuning(exported)]
    rest = len(manifest.layers) - seven - len(kept)
    lines.append(f"weights  8 bits in {rest} layers, 7 in {seven}, float in {len(kept)}")
    lines += [f"float    {name}" for name in kept]
    where = f"every layer but {len(kept)}" if kept else "every layer"
    lines += [
        f"kernels  integer in {where}: {kernels or 'none'} in ONNX Runtime",
        *_parity("parity", quality.parity),
        *_parity("random", quality.parity_random),
    ]
    lines += [f"file     {v.file:<18} {v.size_bytes:>11,} bytes" for v in manifest.variants]
    lines += [f"warning  {warning}" for warning in exported.warnings]
    lines += [f"memory   {exported.peak_memory_mb:,.0f} MB at most", f"written  {out}"]
    return [printable(line) for line in lines]


def sensitivity_table(rows: Sequence[Sensitivity]) -> list[str]:
    """A row a layer, in the order of computation, and the layers that cost most."""
    alone = any(row.alone_sqnr_db is not None for row in rows)
    agreed = any(row.alone_drop_pp is not None for row in rows)
    cells = [
        [
            shortened(printable(row.layer)),
            {None: "-", 32: "float"}.get(row.weight_bits, str(row.weight_bits)),
            *(f"{limit:.4g}" for limit in row.output_range),
            f"{row.clipped:.2%}",
            decibels_text(row.sqnr_db),
            *([f"{row.alone_drop_pp or 0:.2f}"] if agreed else []),
            *([decibels_text(row.alone_sqnr_db)] if alone else []),
        ]
        for row in rows
    ]
    headings = ["layer", "bits", "low", "high", "clipped", "SQNR dB"]
    headings += ["lost pp"] if agreed else []
    headings += ["alone dB"] if alone else []
    lines = _columns(headings, cells)
    if alone:
        worst = sorted(rows, key=_cost, reverse=True)[:3]
        names = ", ".join(row.layer for row in worst)
        lines += [
            "",
            f"costs most alone: {names}",
            "SQNR dB: of the layer's output, every layer quantized; alone dB, lost pp: of the",
            "model's output and answers, this layer alone quantized; see --keep-float",
        ]
    return [printable(line) for line in lines]


def shortened(name: str, width: int = _NAME_WIDTH) -> str:
    """A long name with its middle left out."""
    half = (width - 1) // 2
    return name if len(name) <= width else f"{name[: width - half - 1]}…{name[-half:]}"


def decibels_text(value: float | None) -> str:
    """A ratio in dB, or that there is no difference."""
    return "equal" if value is None else f"{value:.1f}"


def mcnemar(p: float) -> str:
    """McNemar's p in words."""
    chance = "may be chance" if p > 0.05 else "is more than chance"
    return f"the change {chance} (McNemar p = {p:.2g})"


def ladder_cells(ladder: Sequence[Rung]) -> tuple[list[str], list[list[str]]]:
    """The accuracy ladder as headings and rows; columns without a number are left out."""
    first = ladder[0]
    headings, columns = ["stage"], [[rung.stage for rung in ladder]]
    if first.accuracy is not None:
        intervals = [
            wilson(round((rung.accuracy or 0) * rung.count), rung.count) for rung in ladder
        ]
        headings += ["accuracy", "95 % interval", "change pp"]
        columns += [
            [f"{rung.accuracy:.2%}" for rung in ladder],
            [f"{100 * low:.2f} to {100 * high:.2f}" for low, high in intervals],
            ["", *(f"{100 * ((r.accuracy or 0) - first.accuracy):+.2f}" for r in ladder[1:])],
        ]
    if first.agreement is not None:
        headings.append("as float")
        columns.append(["", *(f"{rung.agreement:.2%}" for rung in ladder[1:])])
    headings += ["SQNR dB", "cosine"]
    columns += [
        ["", *(decibels_text(rung.sqnr_db) for rung in ladder[1:])],
        ["", *("-" if r.cosine is None else f"{r.cosine:.6f}" for r in ladder[1:])],
    ]
    return headings, [list(row) for row in zip(*columns, strict=True)]


def _ladder(manifest: Manifest) -> list[str]:
    quality = manifest.quality
    lines = _columns(*ladder_cells(quality.ladder))
    count, dataset = quality.ladder[0].count, manifest.training.dataset
    lines.append(f"         on {count:,} inputs of {dataset}")
    if quality.mcnemar_p is not None:
        lines[-1] += f"; {mcnemar(quality.mcnemar_p)}"
    return lines


def _tuning(exported: Exported) -> list[str]:
    if len(exported.checkpoints) == 1:
        return []
    best = max(exported.checkpoints, key=lambda checkpoint: checkpoint.rank)
    before, after = exported.checkpoints[0].mean_squared_error, best.mean_squared_error
    return [
        f"tuned    kept step {best.step} of {exported.checkpoints[-1].step}: mean squared error "
        f"to float, held back, {after:.3g}; before {before:.3g}"
    ]


def _parity(name: str, parity: Parity) -> list[str]:
    equal = "all" if parity.equal == parity.compared else f"{parity.equal:,}"
    agreed = parity.top1_agreement
    lines = [f"{name:<8} {equal} of {parity.compared:,} TFLite and ONNX outputs equal to the bit"]
    if parity.equal < parity.compared:
        lines[0] += f", at most {parity.max_difference_lsb} LSB apart"
        same = [] if agreed is None else [f"top-1 the same on {agreed:.2%}"]
        enters = (
            [f"from layer {parity.enters_at} on, there by {parity.enters_lsb} LSB"]
            if parity.enters_at
            else []
        )
        lines.append(f"{'':<8} {', '.join(same + enters)}")
    return lines


def _columns(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligned columns: the first to the left, the others to the right."""
    table = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *others in table:
        cells = (f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return lines


def _cost(row: Sensitivity) -> tuple[float, float]:
    return row.alone_drop_pp or 0, -(row.alone_sqnr_db or 1e9)
