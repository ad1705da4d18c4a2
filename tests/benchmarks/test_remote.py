"""`tinsmith bench --host` against a real ssh server on this machine."""

import contextlib
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

from tinsmith_bench.connection import Host
from tinsmith_runtime import UsageError, read_bundle

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
    images = rng.integers(0, 256, (60, *manifest.input.shape[1:]), np.uint8)
    path = tmp_path_factory.mktemp("data") / "test.npz"
    np.savez(path, x_test=images, y_test=np.arange(60) % len(manifest.output.labels))
    return path


def _line(server: sshd.Server, data: Path, *words: object, host: str = "127.0.0.1") -> list[str]:
    there = ["--host", host, "--remote-python", sys.executable, *server.words()]
    typed = [TINSMITH, "bench", TINY, "--data", data, "--rounds", "2", *there, *words]
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


def test_a_bundle_is_measured_there_and_nothing_is_left(server, data, tmp_path):
    report = tmp_path / "report.json"
    line = _line(server, data, "--json", report)
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    server.require_clean()
    found, *progress = done.stderr.splitlines()
    assert found.startswith(f"127.0.0.1: {os.uname().machine}, Python 3.")
    assert "ai-edge-litert 2" in found
    assert "latency done" in progress
    assert "LiteRT" in done.stdout
    written = json.loads(report.read_text())
    assert written["dataset"]["name"] == "test.npz"
    assert {row["engine"] for row in written["variants"]} == {"litert", "onnx"}


def test_a_host_that_is_down(server, data):
    line = _line(server, data, "--ssh-option", "Port=1")
    # The first of two options counts, for ssh.
    line.remove(f"Port={server.port}")
    line[line.index("--ssh-option")] = "--ssh-option=Port=1"
    said = _fails(server, line)
    assert "127.0.0.1: ssh: connect to host 127.0.0.1 port 1: Connection refused" in said
    assert "is it switched on" in said


def test_a_wrong_key(server, data, tmp_path):
    sshd.make_key(tmp_path / "other")
    line = _line(server, data)
    line = [word.replace(str(server.folder / "key"), str(tmp_path / "other")) for word in line]
    said = _fails(server, line)
    assert "Permission denied (publickey)" in said
    assert "--identity FILE" in said


def test_an_unknown_host_key(server, data, tmp_path):
    (tmp_path / "known_hosts").touch()
    line = [
        word.replace(str(server.folder / "known_hosts"), str(tmp_path / "known_hosts"))
        for word in _line(server, data)
    ]
    said = _fails(server, line)
    assert "Host key verification failed" in said
    assert "compare the fingerprint" in said


def test_a_host_key_that_has_changed(server, data, tmp_path):
    other = sshd.make_key(tmp_path / "host")
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}")
    line = [
        word.replace(str(server.folder / "known_hosts"), str(tmp_path / "known_hosts"))
        for word in _line(server, data)
    ]
    assert "another machine answers there" in _fails(server, line)


def test_a_python_that_is_missing_or_bare(server, data, tmp_path):
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
def test_a_full_disk(data, tmp_path, limits, message):
    server = _serve(tmp_path, **limits)
    try:
        said = _fails(server, _line(server, data))
    finally:
        server.stop()
    assert message in said


def _wait_for(server: sshd.Server, words: str) -> None:
    end = time.monotonic() + 60
    while not any(words in guest for guest in server.guests()):
        assert time.monotonic() < end, f"{words} did not start: {server.guests()}"
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["desk", "ssh", "server", "worker"])
def test_a_connection_that_is_killed(server, data, victim):
    line = _line(server, data, "--rounds", "100000")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as desk:
        # A cold start, so that the worker has a child of its own.
        _wait_for(server, "errand")
        if victim == "desk":
            desk.kill()
        elif victim == "ssh":
            (ssh,) = (pid for pid in _children(desk.pid) if "ssh" in _words(pid))
            os.kill(ssh, signal.SIGKILL)
        elif victim == "server":
            for pid in server.sessions():
                os.kill(pid, signal.SIGKILL)
        else:
            (worker,) = _pids("errand")
            os.kill(worker, signal.SIGKILL)
        out, err = desk.communicate(timeout=60)
    server.require_clean()
    assert out == ""
    if victim == "desk":
        return
    assert desk.returncode == 1
    *_, last = err.splitlines()
    expected = {"worker": "ended with status -9"}.get(
        victim, "the connection broke while measuring"
    )
    assert f"tinsmith: error: 127.0.0.1: {expected}" in err
    assert "Traceback" not in err


def test_a_mistake_is_told_as_if_it_were_here(server, data):
    said = _fails(server, _line(server, data, "--rounds", "0"), status=2)
    assert "rounds" in said


@pytest.mark.parametrize("destination", ["", "-oProxyCommand=true", "ssh://pi"])
def test_a_host_is_a_name_and_no_option(destination):
    with pytest.raises(UsageError, match="expected \\[USER@\\]HOST"):
        Host(destination)


def test_without_ssh_the_package_is_named(data, tmp_path):
    line = [TINSMITH, "bench", str(TINY), "--data", str(data), "--host", "pi"]
    done = subprocess.run(line, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "apt install openssh-client" in done.stderr
