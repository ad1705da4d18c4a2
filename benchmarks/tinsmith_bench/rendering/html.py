"""A report as one HTML file that needs no network; importing this module imports matplotlib."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tinsmith_bench.rendering.facts import facts
from tinsmith_bench.rendering.plots import MAX_CONFUSION, confusions, plots
from tinsmith_bench.rendering.tables import tables
from tinsmith_bench.report_data import Box, Flip, Report, Variant
from tinsmith_report.html import render
from tinsmith_runtime.errors import printable


@dataclass(frozen=True)
class _Overlay:
    """A box as the page draws it over an image, in pixels of the model's input.

    Attributes:
        kind: `truth` or `found`.
        label: what stands above it.
    """

    kind: str
    label: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class _Scene:
    """An image with the boxes of one variant.

    Attributes:
        name: the variant's.
        index: of the sample.
        height: of the model's input, in pixels.
        width: likewise.
        png: the image, in base64.
        boxes: the true ones and those found.
    """

    name: str
    index: int
    height: int
    width: int
    png: str
    boxes: list[_Overlay]


@dataclass(frozen=True)
class _Picture:
    """A flipped sample, as the page shows it.

    Attributes:
        index: of the sample.
        kind: `lost`, `won` or `unknown`.
        truth: the name of its class; empty where it is not known.
        was: what the float model says.
        now: what the variant says.
        png: the image, in base64; empty for features.
    """

    index: int
    kind: str
    truth: str
    was: str
    now: str
    png: str


def html(report: Report) -> str:
    """Writes a report as an HTML page with its plots and pictures inside."""
    overview, *others = tables(report)
    headline, *cards = report.verdict
    return render(
        "tinsmith_bench",
        "benchmark.html",
        printable,
        kind="benchmark",
        version=report.tinsmith,
        title=", ".join(bundle.file for bundle in report.bundles),
        subtitle=_subtitle(report),
        headline=headline,
        warnings=report.warnings,
        cards=cards,
        overview=overview,
        plots=list(plots(report)),
        confusions=list(confusions(report)),
        mistakes=list(_mistakes(report)),
        max_confusion=MAX_CONFUSION,
        flips=list(_flips(report)),
        scenes=list(_scenes(report)),
        tables=others,
        facts=facts(report),
        notes=list(_notes(report)),
    )


def _subtitle(report: Report) -> str:
    machine, dataset = report.machine, report.dataset
    cores = f"{machine.cores} cores" if machine.cores > 1 else "1 core"
    return (
        f"{machine.model}, {cores}, {machine.os} · {dataset.name}, {dataset.samples:,} samples · "
        f"{report.created[:16].replace('T', ' ')} UTC"
    )


def _mistakes(report: Report) -> Iterator[str]:
    """The most frequent mistakes of each variant in words, for more classes than a matrix shows."""
    labels = report.dataset.labels
    for one in report.variants if report.dataset.targets == "labels" else ():
        confusion = one.accuracy.confusion if one.accuracy else ()
        wrong = sorted((entry for entry in confusion if entry[0] != entry[1]), key=lambda e: -e[2])
        said = ", ".join(f"{labels[a]} taken for {labels[b]}: {n}" for a, b, n in wrong[:10])
        yield f"{one.name}: {said or 'no mistakes'}"


def _flips(report: Report) -> Iterator[tuple[str, list[_Picture]]]:
    """The samples that a variant sees differently from float; variants that flip the same share."""
    same: dict[tuple[int, tuple[Flip, ...]], list[str]] = {}
    for one in report.variants:
        if one.fidelity and one.fidelity.agreement:
            same.setdefault((one.fidelity.flipped, one.fidelity.flips), []).append(one.name)
    for (flipped, flips), names in same.items():
        shown = f", the first {len(flips)}" if flipped > len(flips) else ""
        title = f"{', '.join(names)}: {flipped:,} of {report.dataset.samples:,} samples{shown}"
        yield title, [_picture(flip, report.dataset.labels) for flip in flips]


def _scenes(report: Report) -> Iterator[_Scene]:
    """Each image with the boxes of the first float and the first int8 variant."""
    shown: dict[str, Variant] = {}
    for one in report.variants:
        shown.setdefault(one.precision, one)
    names = {one.id: one.name for one in shown.values()}
    for image in report.images:
        png = _png(image.shape, image.pixels)
        for found in sorted(image.found, key=lambda one: names.get(one.variant, "")):  # float first
            if found.variant in names:
                boxes = [_overlay("truth", box, "") for box in image.truth]
                for box in found.boxes:
                    label = f"{report.dataset.labels[box.label]} {100 * box.probability:.0f}%"
                    boxes.append(_overlay("found", box, label))
                yield _Scene(names[found.variant], image.index, *image.size, png, boxes)


def _overlay(kind: str, box: Box, label: str) -> _Overlay:
    left, top, right, bottom = box.sides
    return _Overlay(kind, label, left, top, max(0, right - left), max(0, bottom - top))


def _picture(flip: Flip, labels: tuple[str, ...]) -> _Picture:
    kind = "unknown"
    if flip.label is not None:
        kind = {flip.was: "lost", flip.now: "won"}.get(flip.label, "unknown")
    return _Picture(
        index=flip.index,
        kind=kind,
        truth="" if flip.label is None else labels[flip.label],
        was=labels[flip.was],
        now=labels[flip.now],
        png=_png(flip.shape, flip.pixels) if flip.pixels else "",
    )


def _png(shape: tuple[int, ...], encoded: str) -> str:
    pixels = np.frombuffer(base64.b64decode(encoded), np.uint8).reshape(shape)
    picture = io.BytesIO()
    channels = shape[-1]
    # Pillow knows grey, RGB and RGBA; of anything else the first channel is shown.
    Image.fromarray(pixels if channels in (3, 4) else pixels[..., 0]).save(picture, "PNG")
    return base64.b64encode(picture.getvalue()).decode()


def _notes(report: Report) -> Iterator[str]:
    method = report.method
    yield (
        f"{method.rounds} rounds in {method.processes} fresh processes, seed {method.seed}; clock "
        f"{method.clock}; reading it takes {method.timer_overhead_ns:.0f} ns. Intervals of ratios: "
        "bootstrap over the processes, 95 %."
    )
    yield from report.notes
