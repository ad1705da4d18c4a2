"""A search as one HTML file that needs no network; importing this module imports matplotlib."""

from tinsmith_report.html import render
from tinsmith_runtime.errors import printable
from tinsmith_search.plots import front_plots, history_plots, importance_plots
from tinsmith_search.report import SearchReport
from tinsmith_search.tables import (
    WORDS,
    cards,
    chosen_table,
    front_table,
    importance_table,
    paired_table,
    reasons_table,
    trial_tables,
)


def search_page(report: SearchReport) -> str:
    """Writes a search as an HTML page with its plots inside."""
    moment = report.created[:16].replace("T", " ")
    return render(
        "tinsmith_search",
        "search.html",
        printable,
        kind="search",
        version=report.tinsmith,
        title=report.study,
        subtitle=f"{len(report.trials):,} trials · {report.data} · {moment} UTC",
        headline=report.why,
        warnings=report.notes,
        cards=list(cards(report)),
        words=WORDS,
        front=front_table(report),
        chosen=chosen_table(report),
        paired=paired_table(report),
        importance=importance_table(report),
        unknown=[f"{one.objective}: {one.reason}" for one in report.importance if one.reason],
        reasons=reasons_table(report),
        trials=list(trial_tables(report)),
        front_plots=list(front_plots(report)),
        importance_plots=list(importance_plots(report)),
        history_plots=list(history_plots(report)),
    )
