"""The tables of accuracy, of boxes and of closeness to float."""

from tinsmith_bench.report_data import Closeness, Estimate, Report
from tinsmith_bench.stats.difference import reference_of
from tinsmith_report.tables import TextTable
from tinsmith_runtime.errors import printable

# Variants beside each other; of more, the float ones are left out, then the last.
MAX_COLUMNS = 4


def accuracies(report: Report) -> TextTable:
    """How right each classifier is."""
    rows = []
    for one in report.variants:
        if one.accuracy:
            shares = (one.accuracy.top1, one.accuracy.topk)
            wrong = f"{len(one.accuracy.wrong):,}"
            rows.append((one.name, *map(percent, shares), wrong))
    return TextTable(
        "Accuracy in %",
        (
            "variant",
            "top-1\n[95 % interval]",
            f"top-{report.method.top_k}\n[95 % interval]",
            "wrong",
        ),
        tuple(rows),
        "Wilson intervals. Whether one variant is better than another is McNemar's test, below.",
    )


def detections(report: Report) -> TextTable:
    """How right each detector is."""
    rows = []
    for one in report.variants:
        other = reference_of(one, report)
        if one.detection:
            pair = report.compare(one.id, other.id) if other else None
            changes = (pair.map50_change, pair.map_change) if pair else (None, None)
            shares = f"{100 * one.detection.map50.value:.2f}", percent(one.detection.map)
            points = ("-" if change is None else percent(change, "+") for change in changes)
            rows.append((one.name, *shares, *points))
    return TextTable(
        "Boxes: mean average precision in %",
        (
            "variant",
            "mAP\n@0.5",
            "mAP@0.5:0.95\n[95 % interval]",
            "change@0.5\n[95 % interval]",
            "change@0.5:0.95\n[95 % interval]",
        ),
        tuple(rows),
        "By COCO's rules. Intervals: bootstrap over the images. change: in points, against float, "
        "or its like in the first bundle, on the same images.",
    )


def box_classes(report: Report) -> TextTable:
    """How right each detector is on each class."""
    judged = [one for one in report.variants if one.detection]
    if len(judged) > MAX_COLUMNS:
        judged = [one for one in judged if one.precision != "float"][:MAX_COLUMNS]
    rows = []
    for index, label in enumerate(report.dataset.labels):
        found = [one.detection.classes[index] for one in judged if one.detection]
        averages = ("-" if one.ap50 is None else f"{100 * one.ap50:.2f}" for one in found)
        rows.append((label, f"{found[0].boxes:,}", *averages))
    return TextTable(
        "Average precision of each class in %, at an IoU of 0.5",
        ("class", "boxes", *(_broken(one.name) for one in judged)),
        tuple(rows),
        "Their mean is mAP@0.5.",
    )


def closeness(report: Report) -> TextTable:
    """How close each variant is to its float model."""
    by_id = {one.id: one for one in report.variants}
    rows = []
    for one in report.variants:
        fidelity = one.fidelity
        if fidelity:
            other = by_id[fidelity.baseline]
            pair = report.compare(one.id, other.id)
            rows += [
                (
                    f"{one.name}: {part.name}" if isinstance(part, Closeness) else one.name,
                    "float" if other.engine == one.engine else other.name,
                    percent(fidelity.agreement) if fidelity.agreement else "-",
                    "-" if pair.lost is None else f"-{pair.lost} +{pair.won}",
                    "-" if pair.mcnemar_p is None else f"{pair.mcnemar_p:.2g}",
                    f"{part.mae:.3g}",
                    "∞" if part.sqnr_db is None else f"{part.sqnr_db:.1f}",
                    f"{part.cosine:.5f}",
                )
                for part in fidelity.outputs or (fidelity,)
            ]
    return TextTable(
        "Close to float",
        (
            "variant",
            "against",
            "agree %\n[95 % interval]",
            "lost\nwon",
            "McNemar\np",
            "MAE",
            "SQNR\ndB",
            "cosine",
        ),
        tuple(rows),
        "agree: the same class. lost, won: samples that only float, or only this variant, gets "
        "right. MAE, SQNR, cosine: of the raw outputs.",
    )


def classes_table(report: Report) -> TextTable:
    """How right each classifier is on each class."""
    judged = [one for one in report.variants if one.accuracy]
    if len(judged) > MAX_COLUMNS:
        judged = [one for one in judged if one.precision != "float"][:MAX_COLUMNS]
    rows = []
    for index, label in enumerate(report.dataset.labels):
        cells = [label, ""]
        for one in judged:
            assert one.accuracy
            found = one.accuracy.classes[index]
            cells[1] = f"{found.samples:,}"
            if not found.samples:
                cells.append("-")
                continue
            change = ""
            if found.correct_float is not None and found.correct != found.correct_float:
                points = 100 * (found.correct - found.correct_float) / found.samples
                change = f" ({points:+.2f})"
            cells.append(f"{100 * found.correct / found.samples:.2f}{change}")
        rows.append(tuple(cells))
    return TextTable(
        "Accuracy of each class in %",
        (
            "class",
            "samples",
            *(_broken(one.name) for one in judged),
        ),
        tuple(rows),
        "In brackets: points against float.",
    )


def _broken(name: str) -> str:
    """A name over several lines, which are the only ones that it has."""
    return printable(name).replace(": ", ":\n").replace(" on ", "\non ")


def percent(share: Estimate, sign: str = "") -> str:
    """A share with its interval, in percent; a change with `+` or `-` before each."""
    value, low, high = (f"{100 * end:{sign}.2f}" for end in (share.value, share.low, share.high))
    return f"{value} [{low}, {high}]"
