"""`tinsmith serve`: what the API answers, how it starts, reloads and stops."""

import argparse
import base64
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array
from numpy.typing import NDArray
from serving import Server, command, serving

from tinsmith_runtime import Bundle, load
from tinsmith_runtime.cli.serve_command import configure_serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_on_a_board(reason="the web server is not installed there"),
]
DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "how-to/serve.md").read_text()
API = (DOCS / "reference/http-api.md").read_text()
BOXES = Path(__file__).parents[1] / "data" / "boxes.tin"
JSON = "application/json"
SPEC: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "runtime/tinsmith_runtime/serve/static/openapi.json").read_text()
)


@pytest.fixture(scope="module")
def server(tiny: Path) -> Iterator[Server]:
    with serving(tiny, "--backend", "litert") as found:
        yield found


def check(tree: object, name: str) -> None:
    """Holds JSON to a schema of the OpenAPI description."""
    import jsonschema

    schema = {"$ref": f"#/components/schemas/{name}", "components": SPEC["components"]}
    jsonschema.Draft202012Validator(schema).validate(tree)


def test_the_description_is_openapi(server: Server) -> None:
    from openapi_spec_validator import validate

    described = server.ask("/openapi.json")
    assert described.headers["content-type"] == JSON
    validate(described.json())
    assert described.json() == SPEC


def test_every_described_path_is_there(server: Server) -> None:
    for path, operations in SPEC["paths"].items():
        for method in operations:
            assert server.ask(path, method="OPTIONS").headers["allow"].find(method.upper()) >= 0


@pytest.mark.parametrize("file", ["a.png", "b.jpg"])
def test_an_image_file_is_predicted_as_run_does(
    server: Server, images: Path, tiny: Path, file: str
) -> None:
    kind = {"a.png": "image/png", "b.jpg": "image/jpeg"}[file]
    reply = server.ask("/v1/predict?top=2", (images / file).read_bytes(), kind)
    assert reply.status == 200
    check(reply.json(), "Answer")
    with load(tiny, "litert") as model:
        expected = model.classify(images / file, top=2)
    (result,) = reply.json()["results"]
    assert result["predictions"] == [
        {"label": p.label, "probability": pytest.approx(p.probability)} for p in expected
    ]
    assert reply.json()["latency_ms"] > 0
    assert "LiteRT" in reply.json()["engine"]


def test_arrays_and_base64_are_predicted_together(
    server: Server, images: Path, pixels: NDArray[np.uint8], bundle: Bundle
) -> None:
    text = base64.b64encode((images / "a.png").read_bytes()).decode()
    instances = [pixels[0].tolist(), pixels[0, ..., 0].tolist(), {"b64": text}, pixels[1].tolist()]
    reply = server.ask_json({"instances": instances})
    check({"instances": instances}, "Instances")
    check(reply.json(), "Answer")
    results = reply.json()["results"]
    assert results[0] == results[1] == results[2]
    labels = bundle.manifest.output.labels
    best = [labels[i] for i in array(bundle.golden().outputs_int8)[:2].argmax(axis=1)]
    assert [results[i]["predictions"][0]["label"] for i in (0, 3)] == best


def test_features_values_and_several(features: Path, values: Path, pair: Path) -> None:
    sample = np.full((8, 8, 1), 0.5).tolist()
    for path, key in ((features, "predictions"), (values, "values")):
        with serving(path) as server:
            reply = server.ask_json({"instances": [sample] * 3})
            check(reply.json(), "Answer")
            assert [list(result) for result in reply.json()["results"]] == [[key]] * 3
            said = server.ask("/v1/predict", b"\x89PNG\r\n\x1a\n", "image/png").error()
            assert said == "image: the model takes features: expected JSON with instances"
            said = server.ask_json({"instances": [np.full((8, 8, 1), np.nan).tolist()]}).error()
            assert said == "instances[0]: expected numbers, got NaN"
    with load(pair) as model, serving(pair) as server:
        sample_of = {e.name: np.ones(e.sample_shape, e.dtype) for e in model.inputs}
        expected = model.predict({name: one[np.newaxis] for name, one in sample_of.items()})
        lists = {name: one.tolist() for name, one in sample_of.items()}
        reply = server.ask_json({"instances": [lists]})
        check(reply.json(), "Answer")
        (result,) = reply.json()["results"]
        for name, found in expected.items():
            np.testing.assert_allclose(result["outputs"][name], found[0], rtol=1e-6)
        said = server.ask_json({"instances": [list(lists.values())]}).error()
        assert said == f"instances[0]: expected an object with {', '.join(lists)}"


def test_a_detector_gives_boxes(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "scene.png"
    scene = np.full((48, 96), 20, np.uint8)
    scene[12:36, 40:64] = 220
    Image.fromarray(scene).save(path)
    text = base64.b64encode(path.read_bytes()).decode()
    with load(BOXES, "litert") as model, serving(BOXES, "--backend", "litert") as server:
        expected = [asdict(one) for one in model.detect(path)]
        assert expected
        instances = [{"b64": text}, np.zeros((32, 32), np.uint8).tolist()]
        reply = server.ask_json({"instances": instances})
        check(reply.json(), "Answer")
        first, second = reply.json()["results"]
        assert first["detections"] == json.loads(json.dumps(expected))
        assert second == {"detections": []}
        said = server.ask_json({"instances": [{"b64": "AAAA"}]}).error()
        assert said.startswith("instances[0]: expected a PNG or JPEG")
        one = server.ask("/v1/predict?top=1", path.read_bytes(), "image/png").json()
        assert one["results"] == [{"detections": first["detections"][:1]}]


def test_the_model_is_described(server: Server, bundle: Bundle) -> None:
    said = server.ask("/v1/model").json()
    check(said, "Model")
    assert (said["name"], said["backend"], said["camera"]) == ("tiny.tin", "litert", False)
    assert said["manifest"]["outputs"][0]["labels"] == list(bundle.manifest.output.labels)


def test_metrics_count_what_was_asked(tiny: Path, images: Path) -> None:
    png = (images / "a.png").read_bytes()
    with serving(tiny) as server:
        for _ in range(3):
            server.ask("/v1/predict", png, "image/png")
        server.ask("/v1/predict", b"x", "image/png")
        server.ask("/nosuch")
        assert server.ask("/healthz").body == b"ok\n"
        reply = server.ask("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    # A line is a comment, or a name, labels and a number.
    form = r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [\d.]+'
    lines = reply.body.decode().splitlines()
    assert all(re.fullmatch(form, line) for line in lines)
    assert {
        'tinsmith_requests_total{path="/v1/predict",status="200"} 3',
        'tinsmith_requests_total{path="/v1/predict",status="400"} 1',
        'tinsmith_requests_total{path="other",status="404"} 1',
        "tinsmith_samples_total 3",
        "tinsmith_predict_seconds_count 3",
        'tinsmith_request_seconds_bucket{le="+Inf"} 3',
    } <= set(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_request_under_way_end(tiny: Path, images: Path, number: int) -> None:
    png = (images / "a.png").read_bytes()
    sent, proceed = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield png[:20]
        sent.set()
        proceed.wait(10)
        yield png[20:]

    replies = []
    with serving(tiny) as server:
        asking = threading.Thread(
            target=lambda: replies.append(server.ask("/v1/predict", slowly(), "image/png"))
        )
        asking.start()
        assert sent.wait(10)
        server.ask("/healthz")  # by now the first has arrived
        server.process.send_signal(number)
        proceed.set()
        asking.join(10)
        assert server.process.communicate(timeout=20)[1] == ""
        assert server.process.returncode == 0
    assert [reply.status for reply in replies] == [200]


def test_hangup_takes_the_new_release(
    tiny: Path, tmp_path: Path, forge: Callable[..., Path]
) -> None:
    from tinsmith_runtime.deploy.install import install

    def rename(tree: Any) -> None:
        tree["outputs"][0]["labels"] = ["x", "y", "z"]

    def labels(server: Server) -> list[str]:
        found: list[str] = server.ask("/v1/model").json()["manifest"]["outputs"][0]["labels"]
        return found

    folder = tmp_path / "installed"
    install(tiny, folder)
    with serving(folder) as server:
        before = labels(server)
        install(forge(edit=rename), folder)
        assert labels(server) == before
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stderr
        assert server.process.stderr.readline().startswith("tinsmith: reloaded ")
        assert labels(server) == ["x", "y", "z"]
        for file in folder.iterdir():
            file.unlink()
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stderr.readline().startswith("tinsmith: error: not reloaded: ")
        assert labels(server) == ["x", "y", "z"]
        assert server.stop() == (0, "")


def test_the_camera_is_shown_if_the_owner_asks(tiny: Path, server: Server, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for value in (0, 90, 180):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    assert "--camera" in server.ask("/v1/camera", b"").error()
    with serving(tiny, "--camera", path) as shown:
        assert shown.ask("/v1/model").json()["camera"] is True
        assert shown.ask("/v1/camera").status == 405
        for _ in range(3):  # the video begins anew where it has ended
            said = shown.ask("/v1/camera", b"").json()
            check(said, "Answer")
            assert base64.b64decode(said["image"].partition(",")[2])[:3] == b"\xff\xd8\xff"
    with serving(tiny, "--camera", tmp_path / "none.avi") as missing:
        reply = missing.ask("/v1/camera", b"")
        assert (reply.status, "no such video file" in reply.error()) == (503, True)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["{missing}"], 2, "no such"),
        (["{tiny}", "--host", "256.1.1.1"], 1, "choose others with --host and --port"),
        (["{tiny}", "--port", "{taken}"], 1, "Address already in use"),
        (["{tiny}", "--port", "70000"], 2, "--port: expected 0 to 65535"),
        (["{tiny}", "--workers", "0"], 2, "--workers: expected 1 to 64"),
        (["{tiny}", "--max-body-kib", "0"], 2, "--max-body-kib: expected"),
        (["{tiny}", "--timeout", "nan"], 2, "--timeout: expected seconds"),
        (["{tiny}", "--backend", "nosuch"], 2, "nosuch"),
        (["{pair}", "--camera"], 2, "--camera: the model takes"),
        (["{tiny}", "--token-file", "{short}"], 2, "expected a token of at least 16"),
    ],
)
def test_a_wrong_start_is_one_line(
    words: list[str],
    status: int,
    said: str,
    tiny: Path,
    pair: Path,
    tmp_path: Path,
    one_line: Callable[[str], str],
) -> None:
    (tmp_path / "short").write_text("password\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        places = {
            "tiny": tiny,
            "pair": pair,
            "missing": tmp_path / "missing.tin",
            "short": tmp_path / "short",
            "taken": taken.getsockname()[1],
        }
        line = command("--port", "0", *(word.format(**places) for word in words))
        done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in one_line(done.stderr)


def test_without_the_extra_it_says_what_to_install(
    child: Callable[..., subprocess.CompletedProcess[str]],
    tiny: Path,
    one_line: Callable[[str], str],
) -> None:
    script = f"""
import sys
sys.modules["starlette"] = None
from tinsmith_runtime.cli import main
sys.exit(main(["serve", {str(tiny)!r}]))
"""
    done = child("-c", script)
    assert done.returncode == 2
    assert "pip install 'tinsmith-runtime[serve]'" in one_line(done.stderr)


def test_nothing_of_it_is_imported_unasked(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path, images: Path
) -> None:
    script = f"""
import sys
from tinsmith_runtime.cli import main
assert main(["run", {str(tiny)!r}, {str(images / "a.png")!r}]) == 0
assert not {{"starlette", "uvicorn", "tinsmith_runtime.serve"}} & set(sys.modules)
"""
    done = child("-c", script)
    assert done.returncode == 0, done.stderr


def test_the_documentation_is_typed(
    tiny: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = argparse.ArgumentParser()
    configure_serve(parser)
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    commands = [line[2:] for line in words if line[:2] == ["tinsmith", "serve"]]
    assert len(commands) >= 5
    for command_line in commands:
        assert parser.parse_args(command_line).bundle.name in ("digits.tin", "digits")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (images / "a.png").rename(tmp_path / "photo.png")
    (tmp_path / "token").write_text("a-token-of-the-guide")
    monkeypatch.setenv("TOKEN", "a-token-of-the-guide")
    with serving(tiny, "--token-file", tmp_path / "token") as server:
        for line in lines:
            if line.startswith("curl "):
                line = line.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
                line += "" if "$TOKEN" in line else ' -H "Authorization: Bearer $TOKEN"'
                done = subprocess.run(
                    ["/bin/bash", "-c", line.replace("curl ", "curl --silent ", 1)],
                    capture_output=True, text=True, cwd=tmp_path, timeout=30,
                )  # fmt: skip
                said = json.loads(done.stdout)
                check(said, "Answer" if "predict" in line else "Model")


def test_the_documentation_names_every_path_and_limit() -> None:
    # Here: an emulated board, which reads this module, has no web server.
    from tinsmith_runtime.serve.pool import MAX_WAITING
    from tinsmith_runtime.serve.samples import MAX_INSTANCES, MAX_JSON_BYTES

    for path, operations in SPEC["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in API
    for said in (
        f"| {MAX_WAITING} |",
        f"up to {MAX_INSTANCES} samples",
        f"JSON {MAX_JSON_BYTES >> 20} MiB",
    ):
        assert said in API
    (example,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    check(json.loads(example), "Answer")
