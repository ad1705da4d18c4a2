"""The tables of accuracy and of closeness to float."""

from tinsmith_bench.report_data import Closeness, Estimate, Report
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


def percent(share: Estimate) -> str:
    """A share with its interval, in percent."""
    return f"{100 * share.value:.2f} [{100 * share.low:.2f}, {100 * share.high:.2f}]"
