"""`tinsmith bench --host` against a real ssh server on this machine."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sshd
from narrow import some

from tinsmith_bench.remote import agent
from tinsmith_bench.remote.host import Host
from tinsmith_runtime import UsageError, read_bundle

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[1] / "data" / "tiny.tin"
TINSMITH = str(Path(sys.executable).with_name("tinsmith"))


def _serve(folder: Path, **limits: int) -> sshd.Server:
    try:
        return sshd.start(folder, **limits)
    except sshd.MissingError as error:
        if os.environ.get("CI"):
            pytest.fail(f"missing: {error}")
        pytest.skip(f"missing: {error}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    server = _serve(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty labelled images for the tiny bundle."""
    manifest = read_bundle(TINY).manifest
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, *manifest.input.sample_shape), np.uint8)
    path = tmp_path_factory.mktemp("data") / "test.npz"
    np.savez(path, x_test=images, y_test=np.arange(60) % len(manifest.output.labels))
    return path


def _line(server: sshd.Server, data: Path, *words: object, **options: str) -> list[str]:
    """What a person types; ssh has these options besides those that it needs to log in."""
    there = ["--host", "127.0.0.1", "--remote-python", sys.executable, *server.words(**options)]
    typed = [TINSMITH, "bench", TINY, "--data", data, "--quick", "--rounds", "2", *there, *words]
    return [str(word) for word in typed]


def _fails(server: sshd.Server, line: list[str], status: int = 1) -> str:
    """Runs a command that must fail in one line, within a minute, and leave nothing there."""
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (status, "")
    server.require_clean()
    *_, last = done.stderr.splitlines()
    assert last.startswith("tinsmith: error: ")
    assert "Traceback" not in done.stderr
    return last


def test_a_bundle_is_measured_there_and_nothing_is_left(
    server: sshd.Server, data: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    line = _line(server, data, "--profile", "--json", report)
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    server.require_clean()
    found, *progress = done.stderr.splitlines()
    assert found.startswith(f"127.0.0.1: {os.uname().machine}, Python 3.")
    assert "ai-edge-litert 2" in found
    assert "speed done" in progress
    assert "LiteRT" in done.stdout
    written = json.loads(report.read_text())
    assert written["dataset"]["name"] == "test.npz"
    assert len(written["profiles"]) == len(written["variants"])
    assert {row["engine"] for row in written["variants"]} == {"litert", "onnx"}


@pytest.mark.parametrize("installed", [True, False])
def test_a_plan_is_measured_where_its_engine_is_installed(
    server: sshd.Server, data: Path, tmp_path: Path, installed: bool
) -> None:
    """Where it is not, the other files are, and a line says so."""
    if installed:
        pytest.importorskip("tinsmith_native", reason="tinsmith-native is not installed")
    report, python = tmp_path / "report.json", tmp_path / "python"
    hidden = "" if installed else "import sys\nsys.modules['tinsmith_native'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hidden)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    line = _line(server, data, "--json", report, "--remote-python", python)
    line[line.index(str(TINY))] = str(TINY.with_name("planned.tin"))
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    server.require_clean()
    written = json.loads(report.read_text())
    engines = {row["engine"] for row in written["variants"]}
    assert engines == ({"native", "litert", "onnx"} if installed else {"litert", "onnx"})
    said = "tinsmith native is not installed here, so its variants were not measured"
    assert (said in " ".join(done.stdout.split())) != installed
    assert any(note.startswith(said) for note in written["notes"]) != installed


def test_a_bundle_of_several_inputs(server: sshd.Server, tmp_path: Path) -> None:
    bundle, data, report = (tmp_path / name for name in ("pair.tin", "test.npz", "report.json"))
    bundle.write_bytes(TINY.with_name("pair.tin").read_bytes())
    pixels, sums = read_bundle(bundle).golden().inputs
    np.savez(data, pixels=pixels, sums=sums)
    line = [str(bundle) if word == str(TINY) else word for word in _line(server, data)]
    done = subprocess.run(
        [*line, "--json", str(report)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    server.require_clean()
    outputs = json.loads(report.read_text())["variants"][1]["fidelity"]["outputs"]
    assert [output["name"] for output in outputs] == ["shares", "place"]


def test_a_temporary_folder_with_a_long_name_needs_no_socket(
    server: sshd.Server, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / ("x" * 80)
    folder.mkdir()
    line, environment = _line(server, data), os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    server.require_clean()
    assert list(folder.iterdir()) == []


def test_a_host_that_is_down(server: sshd.Server, data: Path) -> None:
    said = _fails(server, _line(server, data, Port="1"))
    assert "127.0.0.1: ssh: connect to host 127.0.0.1 port 1: Connection refused" in said
    assert "is it switched on" in said


def test_a_turn_that_does_not_come(server: sshd.Server, data: Path) -> None:
    held = os.open(server.far, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = _fails(server, _line(server, data, "--wait", "1"))
    finally:
        os.close(held)
    assert "127.0.0.1: somebody measures there, and no turn came within 1 s: wait longer" in said


def test_a_wrong_key(server: sshd.Server, data: Path, tmp_path: Path) -> None:
    sshd.make_key(tmp_path / "other")
    said = _fails(server, _line(server, data, IdentityFile=str(tmp_path / "other")))
    assert "Permission denied (publickey)" in said
    assert "--identity FILE" in said


def test_an_unknown_host_key(server: sshd.Server, data: Path, tmp_path: Path) -> None:
    said = _fails(server, _line(server, data, UserKnownHostsFile=str(tmp_path / "none")))
    assert "Host key verification failed" in said
    assert "compare the fingerprint" in said


def test_a_host_key_that_has_changed(server: sshd.Server, data: Path, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {sshd.make_key(tmp_path / 'host')}")
    said = _fails(server, _line(server, data, UserKnownHostsFile=str(known)))
    assert "another machine answers there" in said


def test_a_python_that_is_missing_or_bare(server: sshd.Server, data: Path, tmp_path: Path) -> None:
    said = _fails(server, _line(server, data, "--remote-python", "no-such-python"))
    assert "no-such-python" in said
    assert "--remote-python PATH" in said
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    said = _fails(server, _line(server, data, "--remote-python", bare / "bin" / "python"))
    assert "lacks numpy and ai-edge-litert or onnxruntime" in said
    assert "pip install numpy ai-edge-litert onnxruntime" in said


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"far_bytes": 1_000_000}, "MB left"), ({"file_bytes": 50_000}, "is the disk full there")],
)
def test_a_full_disk(data: Path, tmp_path: Path, limits: dict[str, int], message: str) -> None:
    server = _serve(tmp_path, **limits)
    try:
        said = _fails(server, _line(server, data))
    finally:
        server.stop()
    assert message in said


def _find_worker(server: sshd.Server) -> int:
    """Waits until the measuring process runs on the far side."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for pid, words in server.agents().items():
            if "tinsmith_bench.remote.worker" in words:
                return pid
        time.sleep(0.05)
    raise AssertionError(f"the measuring process did not start: {server.agents()}")


@pytest.mark.parametrize("victim", ["workstation", "ssh", "server", "worker"])
def test_whoever_is_killed_nothing_is_left(
    server: sshd.Server, data: Path, victim: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    line = _line(server, data, "--rounds", "100000")
    environment = os.environ | {"TMPDIR": str(tmp_path_factory.mktemp("workstation"))}
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as workstation:
        worker = _find_worker(server)
        victims = {
            "workstation": [workstation.pid],
            "ssh": sshd.children(workstation.pid),
            "server": server.sessions(),
            "worker": [worker],
        }
        if victim != "worker":
            os.kill(worker, signal.SIGSTOP)  # it cannot notice by itself that nobody listens
        for pid in victims[victim]:
            os.kill(pid, signal.SIGKILL)
        out, err = workstation.communicate(timeout=60)
    server.require_clean()
    assert out == ""
    if victim != "workstation":
        assert workstation.returncode == 1
        lost = "the connection broke while measuring"
        reason = "measuring ended with status -9" if victim == "worker" else lost
        assert f"\ntinsmith: error: 127.0.0.1: {reason}" in err
        assert "Traceback" not in err


@pytest.mark.parametrize("end", ["silence", signal.SIGHUP, signal.SIGTERM])
def test_a_agent_goes_when_nobody_speaks_to_it_or_it_is_told_to(
    tmp_path: Path, end: str | signal.Signals
) -> None:
    """A network cable that is pulled ends no connection; systemd ends a session with signals."""
    text = Path(agent.__file__).read_text().replace("SILENCE_S = 60", "SILENCE_S = 1")
    assert "SILENCE_S = 1\n" in text
    with subprocess.Popen(
        [sys.executable, "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        text=True,
    ) as process:
        assert some(process.stdout).readline().startswith(agent.MARK)
        assert len(list(tmp_path.iterdir())) == 1
        if isinstance(end, signal.Signals):
            process.send_signal(end)
        process.wait(20)
        assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_told_as_if_it_were_here(server: sshd.Server, data: Path) -> None:
    said = _fails(server, _line(server, data, "--rounds", "0"), status=2)
    assert "rounds" in said


@pytest.mark.parametrize("destination", ["", "-oProxyCommand=true", "ssh://pi"])
def test_a_host_is_a_name_and_no_option(destination: str) -> None:
    with pytest.raises(UsageError, match="expected \\[USER@\\]HOST"):
        Host(destination)


def test_without_ssh_the_package_is_named(data: Path, tmp_path: Path) -> None:
    line = [TINSMITH, "bench", str(TINY), "--data", str(data), "--host", "pi"]
    done = subprocess.run(line, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "apt install openssh-client" in done.stderr


def test_what_runs_there_needs_numpy_and_an_engine_alone() -> None:
    code = "import sys, tinsmith_bench.remote.worker; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"rich", "scipy", "jinja2", "matplotlib", "PIL", "keras"} & set(child.stdout.split())
