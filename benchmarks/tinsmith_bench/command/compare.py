"""`tinsmith compare`: the differences of two reports, and whether the gates pass."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from tinsmith_bench.gates.compare import Move, moves_table
from tinsmith_bench.gates.comparing import compare
from tinsmith_bench.gates.gate import Failure, Gate, parse_gate
from tinsmith_bench.rendering.terminal import open_terminal, print_table
from tinsmith_report.terminal import Terminal


def run_compare(arguments: argparse.Namespace) -> int:
    """Compares two reports and prints what moved; returns the exit status.

    Raises:
        UsageError: a report cannot be read, or a condition is none.
    """
    found = compare(arguments.old, arguments.new, arguments.fail_if)
    gates = [parse_gate(text) for text in arguments.fail_if]
    if arguments.json:
        tree = {"moves": [_tree(move) for move in found.moves], "notes": found.notes}
        print(json.dumps(tree, indent=1))
        terminal = open_terminal(sys.stderr)
    else:
        terminal = open_terminal(sys.stdout)
        print_moves(gates, found.moves, found.notes, terminal)
    return tell_gates(gates, found.failed, found.untried, terminal)


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


def tell_gates(
    gates: Sequence[Gate],
    stopped: Sequence[Failure],
    untried: Sequence[Failure],
    terminal: Terminal,
) -> int:
    """Says which gates failed and which could not be tried; returns the exit status."""
    lines = [
        f"{word}: {failure.gate.text}: {failure.variant}: {failure.reason}".replace(": : ", ": ")
        for word, found in (("Failed", stopped), ("Not tried", untried))
        for failure in found
    ]
    if gates and not lines:
        lines.append(f"No gate of {len(gates)} failed.")
    terminal.paragraphs(lines)
    return 1 if stopped or untried else 0
