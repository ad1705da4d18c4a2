"""The measuring process on a board: does what `request.json` says, and talks to the desk."""

import json
import sys
from pathlib import Path
from typing import Any

from tinsmith_bench.benchmark import bench
from tinsmith_bench.guest import say
from tinsmith_runtime import TinsmithError


def do(request: dict[str, Any]) -> None:
    """Measures, and sends progress and report, or what is wrong."""
    shown: dict[str, int] = {}

    def watch(what: str, done: int, total: int) -> None:
        # Every line costs the board some encryption: one for each percent is plenty.
        percent = 100 * done // total
        if shown.get(what) != percent:
            shown[what] = percent
            say(progress=[what, done, total])

    try:
        bundle, data = Path(request["bundle"]), Path(request["data"])
        report = bench(bundle, data=data, **request["options"], watch=watch)
        say(report=json.loads(report.json()))
    except TinsmithError as error:
        say(failed=str(error), status=error.exit_status)


if __name__ == "__main__":
    do(json.loads(Path(sys.argv[1]).read_text()))
