"""A report as one HTML file that needs no network; importing this module imports matplotlib."""

import base64
import io
from collections.abc import Iterable, Iterator
from html import escape as escape_html
from importlib.resources import files

import numpy as np
from PIL import Image

from tinsmith_bench.facts import facts
from tinsmith_bench.plots import MAX_CONFUSION, Plot, confusions, plots
from tinsmith_bench.report import Flip, Report
from tinsmith_bench.tables import TextTable, tables
from tinsmith_runtime.errors import printable


def escape(text: str) -> str:
    """Text of whatever origin as HTML that is that text, in an attribute too."""
    return escape_html(printable(text))


def html(report: Report) -> str:
    """Writes a report as an HTML page with its plots and pictures inside."""
    names = ", ".join(bundle.file for bundle in report.bundles)
    style = files("tinsmith_bench").joinpath("report.css").read_text(encoding="utf-8")
    overview, *others = tables(report)
    sections = [
        _section("overview", "Overview", _table(overview)),
        _section("plots", "Speed, quality, size", _figures(plots(report))),
        _section("confusion", "Confusion", _confusion(report)),
        _section("flips", "Flipped samples", _flips(report)),
        *(
            _section(f"table-{number}", table.title, _table(table))
            for number, table in enumerate(others, start=1)
        ),
        _section("machine", "Machine and method", _list(facts(report)) + _notes(report)),
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(names)}: tinsmith benchmark</title>
<style>
{style}</style>
</head>
<body>
<header>
<p class="kicker">tinsmith {escape(report.tinsmith)} benchmark</p>
<h1>{escape(names)}</h1>
<p>{escape(_subtitle(report))}</p>
</header>
<main>
{_verdict(report)}
{"".join(sections)}</main>
</body>
</html>
"""


def _subtitle(report: Report) -> str:
    machine, dataset = report.machine, report.dataset
    cores = f"{machine.cores} cores" if machine.cores > 1 else "1 core"
    return (
        f"{machine.model}, {cores}, {machine.os} · {dataset.name}, {dataset.samples:,} samples · "
        f"{report.created[:16].replace('T', ' ')} UTC"
    )


def _verdict(report: Report) -> str:
    first, *rest = report.verdict
    warnings = "".join(f'<p class="warning">{escape(text)}</p>' for text in report.warnings)
    cards = "".join(f"<li>{_emphasized(text)}</li>" for text in rest)
    return (
        f'<section id="verdict"><h2>Verdict</h2><p class="headline">{escape(first)}</p>{warnings}'
        f'<ul class="cards">{cards}</ul></section>\n'
    )


def _emphasized(text: str) -> str:
    """What stands before the colon is the name of what the sentence is about."""
    name, colon, rest = text.partition(": ")
    return f"<strong>{escape(name)}</strong>{colon and '<br>'}{escape(rest)}"


def _section(name: str, title: str, body: str) -> str:
    if not body:
        return ""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{body}</section>\n'


def _table(table: TextTable) -> str:
    head = "".join(
        f"<th>{'<br>'.join(map(escape, text.split(chr(10))))}</th>" for text in table.headings
    )
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f'</div><p class="note">{escape(table.note)}</p>'
    )


def _cell(text: str) -> str:
    mark = f' class="{text}"' if text in ("faster", "slower", "same") else ""
    return f"<td{mark}>{escape(text)}</td>"


def _figures(found: Iterable[Plot]) -> str:
    figures = "".join(
        f'<figure><h3>{escape(plot.title)}</h3><div role="img" aria-label="{escape(plot.title)}">'
        f"{plot.svg}</div><figcaption>{escape(plot.caption)}</figcaption></figure>"
        for plot in found
    )
    return f'<div class="plots">{figures}</div>' if figures else ""


def _confusion(report: Report) -> str:
    drawn = _figures(confusions(report))
    if drawn or report.dataset.targets != "labels":
        return drawn
    # Too many classes for a matrix: the most frequent mistakes of each variant, in words.
    labels = report.dataset.labels
    lines = []
    for one in report.variants:
        mistakes = (
            [entry for entry in one.accuracy.confusion if entry[0] != entry[1]]
            if one.accuracy
            else []
        )
        mistakes.sort(key=lambda entry: -entry[2])
        said = ", ".join(f"{labels[a]} taken for {labels[b]}: {n}" for a, b, n in mistakes[:10])
        lines.append(f"{one.name}: {said or 'no mistakes'}")
    return f'<p class="note">More than {MAX_CONFUSION} classes.</p>{_list(lines)}'


def _flips(report: Report) -> str:
    """The samples that a variant sees differently from float; variants that flip the same share."""
    same: dict[tuple[int, tuple[Flip, ...]], list[str]] = {}
    for one in report.variants:
        if one.fidelity and one.fidelity.agreement:
            same.setdefault((one.fidelity.flipped, one.fidelity.flips), []).append(one.name)
    parts = []
    for (flipped, flips), names in same.items():
        shown = f", the first {len(flips)}" if flipped > len(flips) else ""
        title = f"{', '.join(names)}: {flipped:,} of {report.dataset.samples:,} samples{shown}"
        figures = "".join(_flip(flip, report.dataset.labels) for flip in flips)
        parts.append(f'<h3>{escape(title)}</h3><div class="flips">{figures}</div>')
    return "".join(parts)


def _flip(flip: Flip, labels: tuple[str, ...]) -> str:
    was, now = labels[flip.was], labels[flip.now]
    kind, truth = "unknown", ""
    if flip.label is not None:
        kind = {flip.was: "lost", flip.now: "won"}.get(flip.label, "unknown")
        truth = f"is {labels[flip.label]} · "
    picture = ""
    if flip.pixels:
        source = f"data:image/png;base64,{_png(flip)}"
        picture = f'<img src="{source}" alt="sample {flip.index}" width="84" height="84">'
    return (
        f'<figure class="{kind}">{picture}<figcaption>{escape(truth)}'
        f"float {escape(was)}, now <b>{escape(now)}</b><br>no. {flip.index}</figcaption></figure>"
    )


def _png(flip: Flip) -> str:
    pixels = np.frombuffer(base64.b64decode(flip.pixels), np.uint8).reshape(flip.shape)
    picture = io.BytesIO()
    channels = flip.shape[-1]
    # Pillow knows grey, RGB and RGBA; of anything else the first channel is shown.
    Image.fromarray(pixels if channels in (3, 4) else pixels[..., 0]).save(picture, "PNG")
    return base64.b64encode(picture.getvalue()).decode()


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(_emphasized_item(line) for line in lines)}</ul>"


def _emphasized_item(line: str) -> str:
    name, colon, rest = line.partition(": ")
    return f"<li><strong>{escape(name)}</strong>{colon}{escape(rest)}</li>"


def _notes(report: Report) -> str:
    return "".join(f'<p class="note">{escape(note)}</p>' for note in _method(report))


def _method(report: Report) -> Iterator[str]:
    method = report.method
    yield (
        f"{method.rounds} rounds in {method.processes} fresh processes, seed {method.seed}; clock "
        f"{method.clock}; reading it takes {method.timer_overhead_ns:.0f} ns. Intervals of ratios: "
        "bootstrap over the processes, 95 %."
    )
    yield from report.notes
