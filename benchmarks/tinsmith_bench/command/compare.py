"""`tinsmith compare`: the differences of two reports, and whether the gates pass."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from tinsmith_bench.gates.compare import Move, moves, moves_table
from tinsmith_bench.gates.gate import Gate, judge, parse_gate
from tinsmith_bench.rendering.terminal import open_terminal, print_table
from tinsmith_bench.report_data import Report
from tinsmith_bench.report_data.reading import read_report
from tinsmith_report.terminal import Terminal


def run_compare(arguments: argparse.Namespace) -> int:
    """Compares two reports and prints what moved; returns the exit status.

    Raises:
        UsageError: a report cannot be read, or a condition is none.
    """
    gates = [parse_gate(text) for text in arguments.fail_if]
    old, new = read_report(arguments.old), read_report(arguments.new)
    found, notes = moves(old, new)
    if arguments.json:
        print(json.dumps({"moves": [_tree(move) for move in found], "notes": notes}, indent=1))
        return hold_gates(gates, old, new, open_terminal(sys.stderr))
    terminal = open_terminal(sys.stdout)
    print_moves(gates, found, notes, terminal)
    return hold_gates(gates, old, new, terminal)


def _tree(move: Move) -> dict[str, Any]:
    """A move for JSON, which has no infinity: there a ratio to 0 is `null`."""
    ratio = {end: value if isfinite(value) else None for end, value in asdict(move.ratio).items()}
    return {**asdict(move), "ratio": ratio}


def print_moves(
    gates: Sequence[Gate], found: Sequence[Move], notes: Sequence[str], terminal: Terminal
) -> None:
    """Prints what moved, and of every metric that a gate names each variant."""
    print_table(moves_table(found, [gate.metric for gate in gates]), terminal)
    terminal.paragraphs(notes)
    if not any(move.is_real for move in found):
        terminal.paragraphs(["Nothing moved by more than chance explains."])


def hold_gates(gates: Sequence[Gate], old: Report | None, new: Report, terminal: Terminal) -> int:
    """Says which gates failed and which could not be tried; returns the exit status."""
    stopped, untried = judge(gates, old, new)
    lines = [
        f"{word}: {failure.gate.text}: {failure.variant}: {failure.reason}".replace(": : ", ": ")
        for word, found in (("Failed", stopped), ("Not tried", untried))
        for failure in found
    ]
    if gates and not lines:
        lines.append(f"No gate of {len(gates)} failed.")
    terminal.paragraphs(lines)
    return 1 if stopped or untried else 0
