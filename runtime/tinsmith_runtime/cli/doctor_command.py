"""`tinsmith doctor`: what was found, a line each."""

import argparse
import json
from dataclasses import asdict

from tinsmith_runtime.doctor import BROKEN, doctor
from tinsmith_runtime.errors import printable


def configure_doctor(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith doctor`."""
    parser.epilog = "exit status 1 if something is broken; what is missing is no failure"
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    findings = doctor()
    healthy = all(finding.status != BROKEN for finding in findings)
    if arguments.json:
        tree = {"healthy": healthy, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(tree, indent=1))
    else:
        wide = max(len(finding.topic) for finding in findings)
        for one in findings:
            cure = f"\n{'':{wide + 10}}{one.cure}" if one.cure else ""
            print(f"{one.status:<8}  {one.topic:<{wide}}  {printable(one.text)}{cure}")
        print("bundles run here" if healthy else "something is broken")
    return 0 if healthy else 1
