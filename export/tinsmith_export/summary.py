"""What an export says on a terminal: lines of at most 100 characters."""

import math
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap

from tinsmith_export.ir.bits import FLOAT_BITS, NARROW_BITS, WEIGHT_BITS
from tinsmith_export.results import Attempt, Exported, Sensitivity, Witness
from tinsmith_export.verdict import advice, by_verdict, limit_text, loss_text
from tinsmith_report.statistics import wilson
from tinsmith_runtime.bundle import Manifest, Parity, Quality, Stage, StateError
from tinsmith_runtime.errors import printable

_NAME_WIDTH = 32
_WIDTH = 100


def summary(exported: Exported) -> list[str]:
    """Says what an export gave: what it cost, where integers are, how far the engines agree."""
    manifest, quality = exported.manifest, exported.manifest.quality
    narrow = sum(layer.weight_bits == NARROW_BITS for layer in manifest.layers)
    kept = kept_float(manifest)
    lines = [*_stages(manifest), *attempt_lines(exported), *_fine_tuning(exported)]
    rest = len(manifest.layers) - narrow - len(kept)
    lines.append(
        f"weights  {WEIGHT_BITS} bits in {rest} layers, {NARROW_BITS} in {narrow}, "
        f"float in {len(kept)}; {sum(layer.saturates for layer in manifest.layers)} could saturate"
    )
    lines += [f"float    {name}" for name in kept]
    lines += kernel_lines(exported)
    for pair, parities in parity_by_target(quality):
        for data, parity in parities.items():
            lines += _parity(data, pair, parity)
    lines += [f"state    {state_text(state)}" for state in quality.states]
    lines += verdict_lines(exported)
    if exported.witness is not None:
        lines.append(f"witness  {witness_text(exported.witness, quality)}")
    lines += [f"file     {v.file:<18} {v.size_bytes:>11,} bytes" for v in manifest.variants]
    for warning in exported.warnings:
        lines += wrapped("warning", warning)
    for failure in exported.failures:
        lines += wrapped("failed", failure)
    if more := advice(exported):
        lines += wrapped("advice", more)
    lines.append(f"memory   {exported.peak_memory_mb:,.0f} MB at most")
    if exported.bundle is None:
        lines.append("rejected, no bundle written")
    elif exported.failures:
        lines.append(f"rejected, kept in {exported.bundle}")
    else:
        lines.append(f"written  {exported.bundle}")
    return [printable(line) for line in lines]


def verdict_lines(exported: Exported) -> list[str]:
    """What the gate says of the targets, and of the layers that `auto` keeps float."""
    found = by_verdict(exported.verdicts, target_titles(exported.manifest.quality))
    if exported.float_choice is not None:
        found.append(("inputs held back", exported.float_choice))
    lines = []
    for who, verdict in found:
        p = f"p = {verdict.p:.2g}"
        lines.append(f"gate     {who}: {verdict.outcome}, {limit_text(verdict)} ({p})")
        lines.append(f"{'':<8} {loss_text(verdict)}")
    return lines


def attempt_lines(exported: Exported) -> list[str]:
    """What each recipe that `auto` tried gave on inputs held back, and what it took."""
    lines = []
    for attempt in exported.attempts:
        taken = ", taken" if attempt.recipe == exported.manifest.training.recipe else ""
        lines.append(f"tried    {attempt.recipe}{taken}, {attempt.seconds:,.0f} s")
        lines.append(f"{'':<8} {attempt_text(attempt)}")
    return lines


def attempt_text(attempt: Attempt) -> str:
    """What a recipe gave on inputs held back."""
    sqnr = f"SQNR {decibels_text(attempt.sqnr_db)} dB"
    return sqnr if attempt.verdict is None else f"{loss_text(attempt.verdict)}, {sqnr}"


def state_text(state: StateError) -> str:
    """How the error of a state grows."""
    first, last = map(decibels_text, (state.first_sqnr_db, state.last_sqnr_db))
    return f"{state.name}: SQNR {first} dB behind the first of {state.steps} steps, {last} at last"


def target_titles(quality: Quality) -> dict[str, str]:
    """Each target's name to its title, the reference first."""
    return {stage.target: stage.name for stage in quality.stages if stage.target}


def kept_float(manifest: Manifest) -> list[str]:
    """The names of the layers that are kept float."""
    return [layer.name for layer in manifest.layers if layer.weight_bits == FLOAT_BITS]


def bits_text(bits: int | None) -> str:
    """How many bits the weights of a layer have, if it has any."""
    return {None: "-", FLOAT_BITS: "float"}.get(bits, str(bits))


def kernel_lines(exported: Exported) -> list[str]:
    """Where integers are multiplied, a line a target, and what is special about this CPU."""
    kept = kept_float(exported.manifest)
    where = f"every layer but {len(kept)}" if kept else "every layer"
    titles = target_titles(exported.manifest.quality)
    lines = [
        f"kernels  {titles.get(target, target)}: integer in {where}: {counted(kernels)}"
        for target, kernels in exported.kernels.items()
    ]
    notes = exported.cpu_notes.items()
    return lines + [f"cpu      {titles.get(target, target)}: {note}" for target, note in notes]


def counted(kernels: Mapping[str, int]) -> str:
    """How many kernels there are of each kind, in words."""
    return ", ".join(f"{count} {name}" for name, count in kernels.items()) or "none"


def witness_text(witness: Witness, quality: Quality) -> str:
    """How far the float files are from what tf2onnx makes of the model, in words."""
    titles = target_titles(quality)
    found = ", ".join(
        f"{titles.get(target, target)} by {difference:.1g}"
        for target, difference in witness.differences.items()
    )
    return f"float outputs of {witness.count} inputs differ from tf2onnx's: {found} at most"


def parity_by_target(quality: Quality) -> list[tuple[str, dict[str, Parity]]]:
    """Whose outputs are compared, in words, and their parity by the data's name."""
    titles = target_titles(quality)
    reference = titles[quality.reference]
    return [
        (
            f"{reference} and {titles[found.target]}",
            {"evaluation": found.evaluation, "random": found.random},
        )
        for found in quality.parity
    ]


def sensitivity_table(rows: Sequence[Sensitivity]) -> list[str]:
    """A row a layer, in the order of computation, and the layers that cost most."""
    alone = any(row.alone_sqnr_db is not None for row in rows)
    agreed = any(row.alone_drop_pp is not None for row in rows)
    cells = [
        [
            shortened(printable(row.layer)),
            bits_text(row.weight_bits),
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
    lines = columns(headings, cells)
    if alone:
        measure, ranked = ranking(rows)
        lines += [
            "",
            f"costs most alone: {', '.join(row.layer for row in ranked[:3])}",
            f"ranked by {measure}",
            "SQNR dB: of the layer's output, every layer quantized; alone dB, lost pp: of the",
            "model's output and answers, this layer alone quantized; see --keep-float",
        ]
    return [printable(line) for line in lines]


def ranking(rows: Sequence[Sensitivity]) -> tuple[str, list[Sensitivity]]:
    """The layers that were measured alone, the one that costs most first, and what ranks them.

    An answer that changes counts most. Few do, or none: the error of the model's output says more.
    """
    measure = "alone dB"
    if any(row.alone_drop_pp for row in rows):
        measure = "lost pp, then alone dB"
    elif any(row.alone_drop_pp is not None for row in rows):
        measure = "alone dB: no answer changed"
    return measure, sorted(rows, key=_gain)


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


def stage_cells(stages: Sequence[Stage]) -> tuple[list[str], list[list[str]]]:
    """Accuracy by stage as headings and rows; columns without a number are left out."""
    first = stages[0]
    headings, columns = ["stage"], [[stage.name for stage in stages]]
    if first.accuracy is not None:
        intervals = [
            wilson(round((stage.accuracy or 0) * stage.count), stage.count) for stage in stages
        ]
        headings += ["accuracy", "95 % interval", "change pp"]
        columns += [
            [f"{stage.accuracy:.2%}" for stage in stages],
            [f"{100 * low:.2f} to {100 * high:.2f}" for low, high in intervals],
            ["", *(f"{100 * ((s.accuracy or 0) - first.accuracy):+.2f}" for s in stages[1:])],
        ]
    if first.agreement is not None:
        headings.append("as float")
        columns.append(["", *(f"{stage.agreement:.2%}" for stage in stages[1:])])
    headings += ["SQNR dB", "cosine"]
    columns += [
        ["", *(decibels_text(stage.sqnr_db) for stage in stages[1:])],
        ["", *("-" if s.cosine is None else f"{s.cosine:.6f}" for s in stages[1:])],
    ]
    return headings, [list(row) for row in zip(*columns, strict=True)]


def _stages(manifest: Manifest) -> list[str]:
    quality = manifest.quality
    lines = columns(*stage_cells(quality.stages))
    count, dataset = quality.stages[0].count, manifest.training.dataset
    lines.append(f"         on {count:,} inputs of {dataset}")
    if quality.mcnemar_p is not None:
        lines[-1] += f"; {mcnemar(quality.mcnemar_p)}"
    return lines


def _fine_tuning(exported: Exported) -> list[str]:
    if len(exported.checkpoints) == 1:
        return []
    best = exported.kept_checkpoint
    before, after = exported.checkpoints[0].mean_squared_error, best.mean_squared_error
    return [
        f"tuned    kept step {best.step} of {exported.checkpoints[-1].step}: mean squared error "
        f"to float, held back, {after:.3g}; before {before:.3g}"
    ]


def _parity(data: str, pair: str, parity: Parity) -> list[str]:
    equal = "all" if parity.equal == parity.compared else f"{parity.equal:,}"
    agreed = parity.top1_agreement
    name = "parity" if data == "evaluation" else data
    lines = [f"{name:<8} {equal} of {parity.compared:,} {pair} outputs equal to the bit"]
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


def wrapped(name: str, text: str) -> list[str]:
    """A long text as lines behind a name."""
    return wrap(text, _WIDTH, initial_indent=f"{name:<8} ", subsequent_indent=" " * 9)


def columns(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligned columns: the first to the left, the others to the right."""
    table = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *others in table:
        cells = (f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return lines


def _gain(row: Sensitivity) -> tuple[float, float]:
    """The lower, the more a layer costs."""
    return -(row.alone_drop_pp or 0), math.inf if row.alone_sqnr_db is None else row.alone_sqnr_db
