"""`tinsmith bench --host` against remotes that lie, are silent, print junk, or never end.

A program of the test stands where `ssh` is looked for: it runs what it is asked to on this machine,
by a shell as sshd does, and spoils what comes back. Another stands for `scp`.
"""

import json
import os
import shlex
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import some

from tinsmith_bench import bench
from tinsmith_bench.options import Options
from tinsmith_bench.remote import agent, ssh
from tinsmith_bench.remote.host import Host
from tinsmith_bench.remote.measure import WaitLimit, bench_there
from tinsmith_bench.remote.messages import Board, Progress, parse_message
from tinsmith_bench.remote.ssh import Connection, LostError
from tinsmith_bench.report_data import Report
from tinsmith_bench.samples import find_samples
from tinsmith_bench.test_set import Samples
from tinsmith_bench.timing.latency import Watch
from tinsmith_runtime import TinsmithError, UsageError, read_bundle

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[1] / "data" / "tiny.tin"
QUICK = Options(rounds=2, processes=2, cold_starts=1, batches=(1,))
# The last argument is the command; the rest are options and the host.
SHELL = f"#!{sys.executable}\nimport os, subprocess, sys, time, json\nout = sys.stdout.buffer\n"
BOARD = {
    "folder": "/tmp/tinsmith-1234",
    "free_bytes": 10**12,
    "python": "3.11.2",
    "executable": "/usr/bin/python3",
    "architecture": "aarch64",
    "packages": {"numpy": "2.0", "onnxruntime": "1.2", "ai-edge-litert": "2.1"},
}

BAD_PACKAGES: tuple[object, ...] = ({"evil": "1"}, {"numpy": 1}, [], {"numpy": "\x1b"})


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts `ssh` and `scp` of these lines before the real ones."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(ssh, "_PARTING_S", 3)

    def install(ssh: str, scp: str = "sys.exit(0)") -> None:
        for name, lines in (("ssh", ssh), ("scp", scp)):
            path = folder / name
            path.write_text(SHELL + lines + "\n")
            path.chmod(0o755)

    return install


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    tmp_path = tmp_path_factory.mktemp("data")
    manifest = read_bundle(TINY).manifest
    images = np.random.default_rng(0).integers(0, 256, (12, *manifest.input.sample_shape), np.uint8)
    np.savez(tmp_path / "test.npz", x_test=images, y_test=np.arange(12) % 3)
    return find_samples([manifest], None, tmp_path / "test.npz", None)


@pytest.fixture(scope="module")
def honest(samples: Samples) -> str:
    """The JSON of a report as it should be."""
    return bench([TINY], samples=samples, options=QUICK).to_json()


def said(kind: str, **fields: object) -> bytes:
    return f"{agent.MARK}{json.dumps({kind: fields})}\n".encode()


ARRIVED = said("arrived", **BOARD)
TURN = said("turn", waited_s=0.0)


def saying(*pieces: bytes, then: str = "sys.stdin.read()") -> str:
    """An ssh that says this, whatever it is asked to do."""
    return f"for piece in {pieces!r}: out.write(piece)\nout.flush()\n{then}"


def there(host: Host, samples: Samples, watch: Watch = lambda *_: None) -> Report:
    """Measures there, without a word."""
    return bench_there(
        host, [TINY], samples, QUICK, watch=watch, greet=lambda _: None, tell=lambda _: None
    )


def fails(samples: Samples, kind: type[TinsmithError] = TinsmithError) -> str:
    """Measures there, which must fail within seconds, in a short line that names the machine."""
    begin = time.monotonic()
    with pytest.raises(kind) as caught:
        there(Host("pi"), samples)
    text = str(caught.value)
    assert time.monotonic() - begin < 20
    assert text.startswith("pi: ")
    assert text.isprintable()
    assert len(text) < 3000
    return text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "no sense in what it said while connecting"),
        (b"[1]", "message: expected an object with one key"),
        (b"{}", "message: expected an object with one key"),
        (b'{"arrived": 1, "ended": 2}', "message: expected an object with one key"),
        (b'{"arrived": {}, "arrived": {}}', "stands twice"),
        (b'{"hello": {}}', "expected one of arrived, waiting, turn"),
        (b"[" * 100_000, "lie too deep"),
        (b"\xff\xfe{}", "no sense"),
        (b'{"ended": {"status": 0, "last_words": ""}}', "expected it to say what it found"),
        (b'{"ended": {"status": 1e3, "last_words": ""}}', "status: expected a whole number"),
        (b'{"ended": {"status": NaN, "last_words": ""}}', "got NaN"),
        (b'{"ended": {"status": ' + b"9" * 5000 + b', "last_words": ""}}', "whole numbers up to"),
        (b'{"agent_failed": {"error": "\\u001b[2J"}}', "error: expected text without control"),
        (b'{"agent_failed": {"error": "\\u202e"}}', r"pi: \u202e"),
        (b'{"agent_failed": {"error": "' + b"x" * 3000 + b'"}}', "at most 2000 characters"),
        (ARRIVED[len(agent.MARK) : -1] + b"noise", "Extra data"),
        (ARRIVED[len(agent.MARK) : -20], "no sense"),
    ],
)
def test_what_is_no_message_is_one_line(
    programs: Callable[..., None], samples: Samples, line: bytes, message: str
) -> None:
    programs(saying(agent.MARK.encode(), line, b"\n"))
    assert message in fails(samples)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([said("waiting", holder="anna@laptop")], "anna@laptop measures there, and no turn came"),
        ([said("waiting", holder="\x1b[2J")], "holder: expected text without control"),
        ([said("waiting", holder="x"), said("waiting", holder="x")], "got `waiting`"),
        ([said("turn", waited_s=-1)], "waited_s: expected 0 or more"),
        ([said("ended", status=0, last_words="")], "expected its turn, got `ended`"),
        ([], "expected a message within 2 s while waiting for its turn"),
    ],
)
def test_a_turn_is_waited_for_no_longer_than_was_said(
    programs: Callable[..., None],
    samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[bytes],
    message: str,
) -> None:
    monkeypatch.setattr(ssh, "CONNECTING_S", 2)
    programs(saying(ARRIVED, *answers), "raise SystemExit('copied')")
    told: list[str] = []
    with pytest.raises(LostError) as caught:
        bench_there(
            Host("pi", wait_s=1),
            [TINY],
            samples,
            QUICK,
            watch=lambda *_: None,
            greet=lambda _: None,
            tell=told.append,
        )
    assert message in str(caught.value)
    assert told == (["anna@laptop"] if "anna" in message else told)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("folder", bad) for bad in ("-oProxyCommand=id", "/tmp/$(id)", "/tmp/a b", "/tmp/a\nb")),
        *(("folder", bad) for bad in ("tmp", "", "/tmp/../etc", "/tmp/`id`", "/tmp/;id", "/tmp/é")),
        *(("folder", bad) for bad in ("/" + "x" * 5000, None, 7, ["/tmp"], "//", "/tmp/x:y")),
        *(("free_bytes", bad) for bad in (-1, 1.5, "much", None, True)),
        *(("packages", bad) for bad in BAD_PACKAGES),
        *(("python", bad) for bad in (3, "\x1b[31m", "x" * 3000)),
        ("extra", 1),
    ],
)
def test_a_board_that_describes_itself_wrongly_is_refused(
    programs: Callable[..., None], samples: Samples, field: str, value: object
) -> None:
    programs(saying(said("arrived", **{**BOARD, field: value})), "raise SystemExit('copied')")
    assert f"while connecting: {field}" in fails(samples).replace("'extra'", "extra")


def progress(what: str, done: object, total: int) -> bytes:
    return said("progress", what=what, done=done, total=total)


ENDED = said("ended", status=0, last_words="")


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([progress("speed", 1, 0)], "total: expected 1 or more"),
        ([progress("speed", -1, 5)], "done: expected 1 or more"),
        ([progress("speed", 6, 5)], "expected done <= total"),
        ([progress("\x1b[2J", 1, 5)], "what: expected"),
        ([progress("rm -rf", 1, 5)], "what: expected one of accuracy, speed"),
        ([progress("speed", 1.5, 5)], "done: expected a whole number"),
        ([progress("speed", 2, 5)] * 2, "speed does not go on"),
        ([ARRIVED], "expected no `board` any more"),
        ([TURN], "expected no `turn` any more"),
        ([said("failed", error="no", status=0)], "status: expected 1 or 2"),
        ([said("failed", error="no", status=1)], "pi: no"),
        ([ENDED], "measuring ended with status 0: it said nothing"),
        ([said("report", json="[]")], "report: expected a report"),
        ([said("report", json='{"schema_version": 2}')], "report: tinsmith: missing"),
        ([said("report", json="{"), ENDED], "report: Expecting"),
        ([said("report", json="[" * 50_000)], "lie too deep"),
        ([said("progress", what="speed", done=1, total=2)[:-30]], "the connection broke"),
    ],
)
def test_what_comes_while_measuring_is_checked_too(
    programs: Callable[..., None], samples: Samples, pieces: list[bytes], message: str
) -> None:
    order = "line = ' '\nwhile 'worker' not in line: line = sys.stdin.readline()"
    end = "" if "broke" in message else "sys.stdin.read()"
    programs(saying(ARRIVED, TURN, then=f"{order}\n{saying(*pieces, then=end)}"))
    assert message in fails(samples, UsageError if "schema" in str(pieces) else TinsmithError)


@pytest.mark.parametrize("stage", ["connecting", "measuring"])
@pytest.mark.parametrize(
    "noise",
    [
        "time.sleep(60)",
        "while True: out.write(b'junk\\n' * 1000)",
        "while True: sys.stderr.write('junk' * 1000)",
    ],
    ids=["silence", "junk", "errors"],
)
def test_whoever_says_nothing_is_given_up(
    programs: Callable[..., None],
    samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    noise: str,
) -> None:
    monkeypatch.setattr(ssh, "CONNECTING_S", 2)
    monkeypatch.setattr(WaitLimit, "limit_s", lambda self: 2.0)
    programs(saying(*([ARRIVED, TURN] if stage == "measuring" else []), then=noise))
    assert f"expected a message within 2 s while {stage}" in fails(samples)


def test_a_line_without_an_end_is_given_up(
    programs: Callable[..., None], samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "LONGEST_LINE", 1_000_000)
    programs("while True: out.write(b'x' * 10_000)")
    assert "expected lines of at most 1,000,000 bytes" in fails(samples)


def test_a_flood_of_errors_is_not_kept(programs: Callable[..., None], samples: Samples) -> None:
    programs("for _ in range(5000): sys.stderr.write('x' * 9999 + '\\n')\nsys.exit(255)")
    text = fails(samples)
    assert "x" * 100 in text


def test_a_copy_has_a_limit_and_its_errors_are_bounded(
    programs: Callable[..., None], samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "_COPY_BYTES_PER_S", 1e9)
    programs(
        saying(ARRIVED, TURN),
        "sys.stderr.write('junk' * 10**6 + '\\n\\x1b[2Jno room')\nsys.exit(1)",
    )
    assert r"\x1b[2Jno room: is the disk full there" in fails(samples)
    programs(saying(ARRIVED, TURN), "time.sleep(60)")
    copying = Connection.copy

    def copy(self: Connection, path: Path) -> None:
        monkeypatch.setattr(ssh, "CONNECTING_S", 1)
        copying(self, path)

    monkeypatch.setattr(Connection, "copy", copy)
    assert "it takes longer than 1 s" in fails(samples)


REALLY = "sys.exit(subprocess.run(['sh', '-c', sys.argv[-1]]).returncode)"
SCP = "import shutil\nshutil.copy(sys.argv[-2], sys.argv[-1].partition(':')[2])"


def test_junk_around_the_messages_and_prints_of_an_engine_are_passed_over(
    programs: Callable[..., None], samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login shell that greets, and an engine that prints to descriptor 1 as it loads and runs."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys, threading, time\n"
        # What a board need not have.
        "sys.modules.update(dict.fromkeys(['scipy', 'rich', 'jinja2', 'matplotlib']))\n"
        "def chat():\n"
        "    while True:\n"
        "        os.write(1, b'@tinsmith {\"ended\": \\xff no line ends here')\n"
        "        time.sleep(0.01)\n"
        "if any('tinsmith_bench' in word or 'probe' in word for word in sys.orig_argv):\n"
        "    threading.Thread(target=chat, daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{site}:{os.environ.get('PYTHONPATH', '')}")
    programs("out.write(b'Welcome!\\n\\xff\\x00 $ ')\nout.flush()\n" + REALLY, SCP)
    stages = []
    host = Host("pi", python=sys.executable)
    report = there(host, samples, lambda *told: stages.append(told))
    assert report.dataset.samples == 12
    assert report.verdict[0].startswith("On this machine ship")
    share = some(report.variants[0].accuracy).top1
    assert share.low < share.value < share.high
    assert all(0 <= some(pair.mcnemar_p) <= 1 for pair in report.comparisons)
    assert ("speed", 2, 2) in stages
    assert not list(tmp_path.glob("tinsmith-*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["dataset"].update(sha256="0" * 64), "not the data that"),
        (lambda tree: tree["bundles"][0].update(sha256="0" * 64), "not the bundles that"),
        (lambda tree: tree["method"].update(seed=3), "not the seed that"),
        (lambda tree: tree["variants"][0].update(size_bytes=3), "not the model files that"),
        (lambda tree: tree["variants"][0]["accuracy"].update(correct=12), "accuracy.correct"),
    ],
)
def test_a_report_that_lies_is_refused(
    programs: Callable[..., None],
    samples: Samples,
    honest: str,
    change: Callable[[Any], None],
    message: str,
) -> None:
    tree = json.loads(honest)
    change(tree)
    text = json.dumps(tree)
    order = "line = ' '\nwhile 'worker' not in line: line = sys.stdin.readline()"
    programs(saying(ARRIVED, TURN, then=f"{order}\n{saying(said('report', json=text), ENDED)}"))
    kind = UsageError if "correct" in message else TinsmithError
    assert message in fails(samples, kind)


def test_nothing_of_the_command_line_is_a_shells(
    programs: Callable[..., None], samples: Samples, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    for python in (f"python3; touch {marker}", f"$(touch {marker})", f"~/x' ; touch {marker} #"):
        programs(REALLY)
        host = Host("pi", python=python)
        with pytest.raises(TinsmithError):
            Connection(host, tmp_path)
        assert not marker.exists(), shlex.quote(python)
    for bad in ("a b", "a;id", "$(id)", "a\nb", "u@-oX", "`id`", "a|b", "'a'"):
        with pytest.raises(UsageError, match=r"expected \[USER@\]HOST"):
            Host(bad)
    for good in ("pi", "pi@raspberrypi.local", "::1", "me@fe80::1%eth0", "my_pi", "DOMAIN\\me@pi"):
        Host(good)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a\\..\\x"])
def test_what_is_unpacked_stays_in_the_folder(tmp_path: Path, name: str) -> None:
    payload = tmp_path / "payload.zip"
    with zipfile.ZipFile(payload, "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(OSError, match="expected names inside the folder"):
        agent.unpack(payload, tmp_path)
    assert list(tmp_path.iterdir()) == [payload]


def test_wait_limit_grows_with_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("tinsmith_bench.remote.measure.monotonic", lambda: now[0])
    wait_limit = WaitLimit(Options(), 4, 100, 1_000_000)
    first = wait_limit.limit_s()
    assert 200 < first < 300
    now[0] = 30.0
    wait_limit.note(Progress("accuracy", 50, 400))
    assert wait_limit.limit_s() == first + 20 * 30
    now[0] = 100.0
    wait_limit.note(Progress("accuracy", 400, 400))
    # A second a sample in all variants: some 750 calls a process, and 20 times as long at most.
    assert 14_000 < wait_limit.limit_s() < 17_000
    now[0] = 1e6
    wait_limit.note(Progress("accuracy", 400, 400))
    assert wait_limit.limit_s() == 6 * 3600


def test_every_message_of_the_agent_is_one() -> None:
    arrived = parse_message(ARRIVED[len(agent.MARK) :])
    assert isinstance(arrived, Board)
    assert arrived.folder == BOARD["folder"]
    assert agent.words("a\x1b[31m\nb\u202e" + "x" * 3000).isprintable()
