"""Without the library, these tests are left out, and say so."""

from importlib.util import find_spec

import pytest

collect_ignore: list[str] = []

if find_spec("tinsmith_native") is None:

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        reason = "tinsmith-native is not installed: `make test` builds it where there is a compiler"
        for item in items:
            if "/tests/native/" in str(item.path):
                item.add_marker(pytest.mark.skip(reason=reason))
