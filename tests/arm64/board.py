"""A pytest plugin for the board: which of the runtime's tests are left out there, and why.

`-p arm64.board` loads it. A test says by itself that a board is no place for it; where an engine is
missing, as ONNX Runtime is on 32 bits, so are the tests that name it.
"""

from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# Under emulation a tenth of the examples take as long as all of them do here.
settings.register_profile(
    "board", deadline=None, database=None, max_examples=10, suppress_health_check=list(HealthCheck)
)
settings.load_profile("board")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    onnx = find_spec("onnxruntime") is not None
    for item in items:
        if mark := item.get_closest_marker("not_on_a_board"):
            item.add_marker(pytest.mark.skip(reason=mark.kwargs["reason"]))
        elif not onnx and needs_onnx(item):
            item.add_marker(
                pytest.mark.skip(reason="needs ONNX Runtime, or the exact LiteRT of 64 bits")
            )


def needs_onnx(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    named = [] if parameters is None else map(str, parameters.params.values())
    return "onnx" in named or item.get_closest_marker("both_engines") is not None
