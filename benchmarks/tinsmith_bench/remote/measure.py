"""`--host`: measures on another machine, and leaves it as it was."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

from tinsmith_bench.box_truth import class_labels
from tinsmith_bench.competitors import Competitor
from tinsmith_bench.gates.verdict import judged
from tinsmith_bench.options import Options
from tinsmith_bench.remote.host import Host
from tinsmith_bench.remote.messages import (
    Board,
    Described,
    Ended,
    Failed,
    Found,
    Progress,
    engine_distributions,
)
from tinsmith_bench.remote.payload import CODE, PAYLOAD, REQUEST, pack, requested
from tinsmith_bench.remote.ssh import Connection, LostError
from tinsmith_bench.report_data import Report
from tinsmith_bench.report_data.reading import parse_report
from tinsmith_bench.test_set import Samples
from tinsmith_bench.timing.latency import Watch
from tinsmith_bench.timing.limits import LONGEST_S, SLACK, start_limit_s, timing_limit_s
from tinsmith_runtime import BackendError, Bundle, TinsmithError, UsageError, read_bundle
from tinsmith_runtime.backends import known_backends
from tinsmith_runtime.batch import count
from tinsmith_runtime.bundle import dump_manifest, sha256

# What Python writes beside our code when it compiles it, and what engines write.
_SPARE_BYTES = 4_000_000
_WORKER = ("-m", "tinsmith_bench.remote.worker")


def bench_there(
    host: Host,
    paths: Sequence[Path],
    samples: Samples,
    options: Options,
    competitors: Sequence[Competitor] = (),
    *,
    watch: Watch,
    greet: Callable[[Board], None],
    tell: Callable[[str], None],
) -> Report:
    """Measures bundles on another machine, side by side; see `api.bench`.

    Args:
        host: the machine.
        paths: the bundles, here.
        samples: the test set; it is copied too.
        options: how to measure.
        competitors: other routes to measure beside the first bundle; they were made here.
        watch: is told how far the other side has come.
        greet: is told what was found on the other side, before anything is copied.
        tell: is told who measures there already, if somebody does.

    Returns:
        The report of what the other side measured.

    Raises:
        UsageError: the request cannot work as it was made.
        TinsmithError: no connection, or something is missing there, or it failed; nothing is left
            on the other side.
    """
    bundles = [read_bundle(path) for path in paths]
    with connect(host) as connection:
        require_able(connection, bundles)
        greet(connection.board)
        connection.take_turn(tell)
        return measure_in_turn(connection, paths, samples, options, competitors, watch=watch)


@contextmanager
def connect(host: Host) -> Iterator[Connection]:
    """Logs in, and logs out at the end; see `Connection`."""
    with (
        tempfile.TemporaryDirectory(prefix="tinsmith-") as folder,
        Connection(host, Path(folder)) as connection,
    ):
        yield connection


def measure_in_turn(
    connection: Connection,
    paths: Sequence[Path],
    samples: Samples,
    options: Options,
    competitors: Sequence[Competitor] = (),
    *,
    watch: Watch,
    limit_s: float = inf,
    is_tested: bool = False,
) -> Report:
    """Measures over a connection that has its turn; see `bench_there`.

    Args:
        connection: to the machine.
        paths: the bundles, here.
        samples: the test set; it is copied too.
        options: how to measure.
        competitors: other routes to measure beside the first bundle; they were made here.
        watch: is told how far the other side has come.
        limit_s: how long all of it may take once it was copied, in seconds.
        is_tested: whether the golden vectors must come out there, before anything is timed.

    Raises:
        LostError: the connection, or the machine.
        TinsmithError: it failed there.
    """
    host, bundles = connection.host, [read_bundle(path) for path in paths]
    request, contents = requested(paths, bundles, samples, options, competitors, is_tested)
    size_bytes = _bring(connection, request, contents)
    connection.order(payload=PAYLOAD, code=CODE, words=[*_WORKER, REQUEST])
    variants = sum(len(bundle.manifest.variants) for bundle in bundles) + len(competitors)
    wait_limit = WaitLimit(options, variants, count(samples.inputs), size_bytes, limit_s)
    report = _follow(host, connection, watch, wait_limit)
    _require_what_was_asked_for(host, report, bundles, samples, options)
    return judged(report)


def read_hardware(connection: Connection) -> str:
    """What a machine is, as `Machine.hardware` says it; it must be this connection's turn.

    Raises:
        LostError: the connection, or the machine.
        TinsmithError: it failed there.
    """
    host, size_bytes = connection.host, _bring(connection, {}, {})
    connection.order(payload=PAYLOAD, code=CODE, words=["-m", "tinsmith_bench.remote.describe"])
    message = connection.receive(start_limit_s(size_bytes))
    if isinstance(message, Ended):
        raise TinsmithError(f"{host.destination}: it cannot say what it is: {message.last_words}")
    if not isinstance(message, Described):
        raise connection.misunderstood("expected it to say what it is")
    return message.hardware


def _bring(
    connection: Connection, request: Mapping[str, Any], contents: Mapping[str, bytes]
) -> int:
    """Copies our code, a request and what it needs; gives its size in bytes."""
    board = connection.board
    with tempfile.TemporaryDirectory(prefix="tinsmith-") as folder:
        payload = Path(folder) / PAYLOAD
        needed = pack(payload, request, contents) + payload.stat().st_size + _SPARE_BYTES
        if board.free_bytes < needed:
            raise LostError(
                f"{connection.host.destination}: {board.folder} needs {needed / 1e6:.1f} MB, "
                f"the disk there has {board.free_bytes / 1e6:.1f} MB left"
            )
        connection.copy(payload)
    return needed


class WaitLimit:
    """How long the other side may be silent: as long as the next message may take it.

    How fast it is shows while it computes all samples, which it does first.

    Args:
        options: how it is to measure.
        variants: how many it may have to measure.
        samples: of how many inputs.
        size_bytes: of all that was copied.
        limit_s: how long all of it may take, in seconds.
    """

    def __init__(
        self,
        options: Options,
        variants: int,
        samples: int,
        size_bytes: int,
        limit_s: float = inf,
    ) -> None:
        self._options, self._variants = options, variants
        self._samples, self._size_bytes = samples, size_bytes
        self._begin = self._last = monotonic()
        self._end = self._begin + limit_s
        self._longest_s = 0.0
        self._sample_s: float | None = None

    def limit_s(self) -> float:
        """How long to wait for the next message, in seconds."""
        return max(0.0, min(self._longest_next_s(), self._end - monotonic()))

    def _longest_next_s(self) -> float:
        size_bytes = self._size_bytes
        if self._sample_s is None:
            # Two processes before the first message: the agent unpacks, the other imports.
            return min(LONGEST_S, 2 * start_limit_s(size_bytes) + SLACK * self._longest_s)
        limit_s = timing_limit_s(self._options, self._variants, size_bytes, self._sample_s)
        calls = self._options.profile_calls * self._sample_s
        # The other side ends a process of its own at this limit, and then has to say so.
        return min(LONGEST_S, limit_s + start_limit_s(size_bytes, calls))

    def note(self, progress: Progress) -> None:
        """Notes how long a message took."""
        now = monotonic()
        if progress.what == "accuracy":
            self._longest_s = max(self._longest_s, now - self._last)
        if progress.what == "accuracy" and progress.done == progress.total:
            self._sample_s = (now - self._begin) / self._samples
        self._last = now


def _follow(host: Host, connection: Connection, watch: Watch, wait_limit: WaitLimit) -> Report:
    """Passes the progress on until the work is done; gives what came of it."""
    report: Report | None = None
    done: dict[str, int] = {}
    while not isinstance(message := connection.receive(wait_limit.limit_s()), Ended):
        if isinstance(message, Progress) and report is None:
            # Each message must be a step forward, so that there is an end to them.
            if message.done <= done.get(message.what, 0):
                raise connection.misunderstood(f"{message.what} does not go on")
            done[message.what] = message.done
            wait_limit.note(message)
            watch(message.what, message.done, message.total)
        elif isinstance(message, Failed):
            misuse = message.status == UsageError.exit_status
            error = UsageError if misuse else TinsmithError
            raise error(f"{host.destination}: {message.error}")
        elif isinstance(message, Found) and report is None:
            report = parse_report(message.json, f"{host.destination}: report", is_judged=False)
        else:
            kind = type(message).__name__.lower()
            raise connection.misunderstood(f"expected no `{kind}` any more")
    if message.status != 0 or report is None:
        raise TinsmithError(
            f"{host.destination}: measuring ended with status {message.status}: "
            f"{message.last_words or 'it said nothing'}"
        )
    return report


def _require_what_was_asked_for(
    host: Host, report: Report, bundles: Sequence[Bundle], samples: Samples, options: Options
) -> None:
    """Refuses a report of something else: of other bundles or data, or measured otherwise."""
    method, dataset = report.method, report.dataset
    files = {
        (variant.file, variant.precision, variant.size_bytes)
        for bundle in bundles
        for variant in bundle.manifest.variants
    }
    ours = {bundle.name for bundle in report.bundles}
    found = {(v.file, v.precision, v.size_bytes) for v in report.variants if v.bundle in ours}
    digests = [sha256(dump_manifest(bundle.manifest)) for bundle in bundles]
    for what, expected, got in (
        ("bundles", digests, [bundle.sha256 for bundle in report.bundles]),
        ("labels", class_labels(bundles[0].manifest), dataset.labels),
        ("samples", count(samples.inputs), dataset.samples),
        ("data", samples.sha256, dataset.sha256),
        ("threads", tuple(dict.fromkeys(options.threads)), method.threads),
        ("batch sizes", tuple(dict.fromkeys(options.batches)), method.batches),
        ("seed", options.seed, method.seed),
        ("model files", True, found <= files),
    ):
        if expected != got:
            raise TinsmithError(f"{host.destination}: report: not the {what} that it was asked for")


def require_able(connection: Connection, bundles: Sequence[Bundle]) -> None:
    """Refuses a machine on which these bundles cannot be measured; says what to install there.

    Raises:
        BackendError: numpy or every engine is missing.
    """
    host, board = connection.host, connection.board
    missing = [] if "numpy" in board.packages else ["numpy"]
    formats = {one.format for bundle in bundles for one in bundle.manifest.variants}
    able = [spec for spec in known_backends() if formats.intersection(spec.formats)]
    choices = [engine_distributions(spec) for spec in able]
    if bundles and not any(set(names) & board.packages.keys() for names in choices):
        missing.append(" or ".join(names[0] for names in choices))
    if missing:
        raise BackendError(
            f"{host.destination}: {board.executable} (Python {board.python}) lacks "
            f"{' and '.join(missing)}: install it there, `python3 -m venv tinsmith && "
            f"tinsmith/bin/pip install {' '.join(missing).replace(' or ', ' ')}`, then "
            "--remote-python tinsmith/bin/python"
        )
