"""Verification as one HTML file without network; importing this imports matplotlib and Jinja2."""

from collections.abc import Iterator

from tinsmith_export.plots import plots
from tinsmith_export.results import Exported
from tinsmith_export.summary import (
    attempt_text,
    bits_text,
    counted,
    decibels_text,
    kept_float,
    mcnemar,
    parity_by_target,
    ranking,
    stage_cells,
    state_text,
    target_titles,
    witness_text,
)
from tinsmith_export.verdict import by_verdict, limit_text, loss_text, rejection
from tinsmith_report.html import render
from tinsmith_report.tables import TextTable
from tinsmith_runtime.bundle import Parity, Stage
from tinsmith_runtime.errors import printable


def html(exported: Exported) -> str:
    """Writes the verification of an export as an HTML page with its plots inside.

    Args:
        exported: made with `layer_errors` or `sensitivity`, whose numbers the plots show.
    """
    manifest = exported.manifest
    training, quality = manifest.training, manifest.quality
    recipe = training.recipe.upper()
    if training.qat_steps:
        recipe += f", {training.qat_steps:,} steps of fine-tuning"
    reference = next(stage for stage in quality.stages if stage.target == quality.reference)
    return render(
        "tinsmith_export",
        "export.html",
        printable,
        kind="export",
        version=manifest.made_with["tinsmith"],
        title=training.model,
        subtitle=f"{recipe} · {training.dataset} · seed {training.seed}",
        headline=_cost(quality.stages[0], reference),
        warnings=list(_warnings(exported)),
        cards=list(_cards(exported)),
        stages=_text_table("What each stage cost", *stage_cells(quality.stages)),
        plots=list(plots(exported)),
        tables=[
            ("parity", _text_table("Parity", *_parity_cells(exported))),
            ("layers", _text_table("Layers", *_layer_cells(exported))),
            ("files", _text_table("Files", *_file_cells(exported))),
        ],
        versions=", ".join(f"{name} {found}" for name, found in manifest.made_with.items()),
    )


def _warnings(exported: Exported) -> Iterator[str]:
    if exported.failures:
        yield f"Rejected. {rejection(exported)}."
    yield from exported.warnings
    if kept := kept_float(exported.manifest):
        yield f"Kept float, weights not rounded: {', '.join(kept)}"


def _cards(exported: Exported) -> Iterator[str]:
    quality = exported.manifest.quality
    titles = target_titles(quality)
    for who, verdict in by_verdict(exported.verdicts, titles):
        yield f"Gate: {who} {verdict.outcome}, {loss_text(verdict)}; {limit_text(verdict)}."
    if exported.float_choice is not None:
        chosen = loss_text(exported.float_choice)
        yield f"Layers kept float were chosen on inputs held back: {chosen}."
    for attempt in exported.attempts:
        yield f"Tried {attempt.recipe}, {attempt.seconds:,.0f} s: {attempt_text(attempt)}."
    for pair, parities in parity_by_target(quality):
        yield f"Engines: {_parity_text(pair, parities['evaluation'])}."
        yield f"Random inputs: {_parity_text(pair, parities['random'])}."
    for state in quality.states:
        yield f"State {state_text(state)}."
    if exported.witness is not None:
        yield f"Witness: {witness_text(exported.witness, quality)}."
    if quality.mcnemar_p is not None:
        yield f"Float against int8: {mcnemar(quality.mcnemar_p)}."
    if len(exported.checkpoints) > 1:
        best = exported.kept_checkpoint
        yield (
            f"Fine-tuning: step {best.step:,} of {exported.checkpoints[-1].step:,} was nearest "
            "to float on inputs held back."
        )
    kept = kept_float(exported.manifest)
    where = f"every layer but {len(kept)}" if kept else "every layer"
    kernels = "; ".join(
        f"{titles.get(target, target)} {counted(found)}"
        for target, found in exported.kernels.items()
    )
    yield f"Kernels: integers in {where}; {kernels}."
    if any(row.alone_sqnr_db is not None for row in exported.sensitivities):
        measure, ranked = ranking(exported.sensitivities)
        names = ", ".join(row.layer for row in ranked[:3])
        yield f"Costs most alone: {names}; ranked by {measure}."
    for target, note in exported.cpu_notes.items():
        yield f"CPU: {titles.get(target, target)} {note}."


def _text_table(title: str, headings: list[str], rows: list[list[str]]) -> TextTable:
    return TextTable(title, tuple(headings), tuple(map(tuple, rows)))


def _cost(first: Stage, last: Stage) -> str:
    if first.accuracy is not None and last.accuracy is not None:
        change_pp = 100 * (last.accuracy - first.accuracy)
        verb = "gains" if change_pp > 0 else "loses"
        return (
            f"int8 {verb} {abs(change_pp):.2f} points: {last.accuracy:.2%} of {last.count:,} "
            f"answers are right, in float {first.accuracy:.2%}."
        )
    if last.agreement is not None:
        return f"int8 gives float's answer on {last.agreement:.2%} of {last.count:,} inputs."
    return f"int8 outputs have an SQNR of {decibels_text(last.sqnr_db)} dB against float."


def _parity_text(pair: str, parity: Parity) -> str:
    equal = "all" if parity.equal == parity.compared else f"{parity.equal:,}"
    text = f"{equal} of {parity.compared:,} outputs of {pair} are equal to the bit"
    if parity.equal < parity.compared:
        text += f", the others at most {parity.max_difference_lsb} LSB apart"
    if parity.enters_at:
        text += f"; they differ from layer {parity.enters_at} on, there by {parity.enters_lsb} LSB"
    return text


def _parity_cells(exported: Exported) -> tuple[list[str], list[list[str]]]:
    rows = []
    for pair, parities in parity_by_target(exported.manifest.quality):
        for data, parity in parities.items():
            agreed = parity.top1_agreement
            rows.append(
                [
                    pair,
                    data,
                    f"{parity.compared:,}",
                    f"{parity.equal:,}",
                    f"{parity.max_difference_lsb}",
                    "-" if agreed is None else f"{agreed:.2%}",
                    parity.enters_at or "-",
                ]
            )
    headings = ["targets", "inputs", "outputs", "equal", "largest LSB", "top-1 the same"]
    return [*headings, "enters at"], rows


def _layer_cells(exported: Exported) -> tuple[list[str], list[list[str]]]:
    rows = []
    for row in exported.sensitivities:
        low, high = row.output_range
        lost, alone = row.alone_drop_pp, row.alone_sqnr_db
        rows.append(
            [
                row.layer,
                row.kind,
                bits_text(row.weight_bits),
                f"{low:.4g} to {high:.4g}",
                f"{row.clipped:.2%}",
                decibels_text(row.sqnr_db),
                "-" if lost is None else f"{lost:.2f}",
                "-" if alone is None else decibels_text(alone),
            ]
        )
    headings = ["layer", "kind", "weight bits", "output", "clipped", "SQNR dB"]
    return [*headings, "alone: lost pp", "alone: SQNR dB"], rows


def _file_cells(exported: Exported) -> tuple[list[str], list[list[str]]]:
    rows = [
        [v.file, f"{v.size_bytes:,}", "-" if v.accuracy is None else f"{v.accuracy:.2%}"]
        for v in exported.manifest.variants
    ]
    return ["file", "bytes", "accuracy"], rows
