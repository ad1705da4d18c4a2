"""The proof as one HTML file that needs no network; importing this module imports matplotlib."""

from collections.abc import Iterable, Sequence
from html import escape as escape_html
from importlib.resources import files

from tinsmith_export.plots import Plot, plots
from tinsmith_export.results import Exported
from tinsmith_export.summary import (
    bits_text,
    counted,
    decibels_text,
    kept_float,
    mcnemar,
    parity_by_target,
    stage_cells,
    target_titles,
    witness_text,
)
from tinsmith_runtime.bundle import Parity, Stage
from tinsmith_runtime.errors import printable


def escape(text: str) -> str:
    """Text as HTML shows it, whatever it holds: no tag, and no mark that turns its direction."""
    return escape_html(printable(text))


def html(exported: Exported) -> str:
    """Writes the proof of an export as an HTML page with its plots inside.

    Args:
        exported: made with `layer_errors` or `sensitivity`, whose numbers the plots show.
    """
    manifest = exported.manifest
    training, quality = manifest.training, manifest.quality
    name = escape(training.model)
    versions = ", ".join(f"{package} {found}" for package, found in manifest.made_with.items())
    style = files("tinsmith_export").joinpath("report.css").read_text(encoding="utf-8")
    recipe = training.recipe.upper()
    if training.qat_steps:
        recipe += f", {training.qat_steps:,} steps of fine-tuning"
    subtitle = f"{recipe} · {training.dataset} · seed {training.seed}"
    sections = [
        _section("stages", "What each stage cost", _table(*stage_cells(quality.stages))),
        _section("plots", "Layer by layer", _figures(plots(exported))),
        _section("parity", "Parity", _table(*_parity_cells(exported))),
        _section("layers", "Layers", _table(*_layer_cells(exported))),
        _section("files", "Files", _table(*_file_cells(exported))),
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: tinsmith export</title>
<style>
{style}</style>
</head>
<body>
<header>
<p class="kicker">tinsmith {escape(manifest.made_with["tinsmith"])} export</p>
<h1>{name}</h1>
<p>{escape(subtitle)}</p>
</header>
<main>
{_verdict(exported)}
{"".join(sections)}<p class="note">{escape(versions)}</p>
</main>
</body>
</html>
"""


def _verdict(exported: Exported) -> str:
    quality = exported.manifest.quality
    titles = target_titles(quality)
    reference = next(stage for stage in quality.stages if stage.target == quality.reference)
    cards = []
    for pair, parities in parity_by_target(quality):
        cards.append(f"Engines: {_parity_text(pair, parities['evaluation'])}.")
        cards.append(f"Random inputs: {_parity_text(pair, parities['random'])}.")
    if exported.witness is not None:
        cards.append(f"Witness: {witness_text(exported.witness, quality)}.")
    if quality.mcnemar_p is not None:
        cards.append(f"Float against int8: {mcnemar(quality.mcnemar_p)}.")
    if len(exported.checkpoints) > 1:
        best = max(exported.checkpoints, key=lambda checkpoint: checkpoint.rank)
        cards.append(
            f"Fine-tuning: step {best.step:,} of {exported.checkpoints[-1].step:,} agreed best "
            "with float on inputs held back."
        )
    kept = kept_float(exported.manifest)
    names = escape(", ".join(kept))
    warning = f'<p class="warning">Kept float, weights not rounded: {names}</p>' if kept else ""
    where = f"every layer but {len(kept)}" if kept else "every layer"
    kernels = "; ".join(
        f"{titles.get(target, target)} {counted(found)}"
        for target, found in exported.kernels.items()
    )
    cards.append(f"Kernels: integers in {where}; {kernels}.")
    items = "".join(f"<li>{_emphasized(card)}</li>" for card in cards)
    cost = escape(_cost(quality.stages[0], reference))
    return (
        f'<section id="verdict"><h2>Verdict</h2><p class="headline">{cost}</p>'
        f'{warning}<ul class="cards">{items}</ul></section>\n'
    )


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


def _emphasized(text: str) -> str:
    """What stands before the colon is the name of what the sentence is about."""
    name, _, rest = text.partition(": ")
    return f"<strong>{escape(name)}</strong><br>{escape(rest)}"


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}"><h2>{escape(title)}</h2>{body}</section>\n'


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _figures(found: Iterable[Plot]) -> str:
    figures = "".join(
        f'<figure><h3>{escape(plot.title)}</h3><div role="img" aria-label="{escape(plot.title)}">'
        f"{plot.svg}</div><figcaption>{escape(plot.caption)}</figcaption></figure>"
        for plot in found
    )
    return f'<div class="plots">{figures}</div>'
