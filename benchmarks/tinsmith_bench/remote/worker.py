"""The measuring process on a board: does what `request.json` says, and talks to the workstation."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith_bench.competitors import Competitor, competitor_target
from tinsmith_bench.options import Options
from tinsmith_bench.remote.agent import say, words
from tinsmith_bench.session import measure_bundles
from tinsmith_bench.test_set import Samples
from tinsmith_runtime import TinsmithError, read_bundle, selftest
from tinsmith_runtime.batch import joined
from tinsmith_runtime.record import parse_record
from tinsmith_runtime.selftest import require_passed


def measure_as_asked(request: dict[str, Any], channel: int) -> None:
    """Measures, and sends progress and report, or what is wrong.

    Args:
        request: what `measure.bench_there` wrote.
        channel: the descriptor for messages to the workstation.
    """
    shown: dict[str, int] = {}

    def watch(what: str, done: int, total: int) -> None:
        # Every line costs the board some encryption: one for each percent is plenty.
        percent = 100 * done // total
        if shown.get(what) != percent:
            shown[what] = percent
            say("progress", channel, what=what, done=done, total=total)

    try:
        with np.load("samples.npz") as arrays:
            inputs = joined([arrays[name] for name in arrays.files if name != "targets"])
            samples = Samples(**request["samples"], inputs=inputs, targets=arrays.get("targets"))
        paths = [Path(name) for name in request["bundles"]]
        competitors = [
            Competitor(**{**competitor, "path": Path(competitor["path"])})
            for competitor in request["competitors"]
        ]
        for path in paths if request["is_tested"] else ():
            require_passed(selftest(path))
        manifest = read_bundle(paths[0]).manifest
        options = parse_record(Options, request["options"])
        targets = [competitor_target(competitor, manifest) for competitor in competitors]
        report = measure_bundles(paths, samples, options, targets, watch)
        # As a part of another JSON text it may hold no line breaks.
        say("report", channel, json=report.to_json().replace("\n", " "))
    except TinsmithError as error:
        say("failed", channel, error=words(str(error)), status=error.exit_status)


if __name__ == "__main__":
    measure_as_asked(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]))
