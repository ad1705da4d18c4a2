import pytest

from tinsmith_runtime import (
    BackendError,
    BundleError,
    InputError,
    TinsmithError,
    UsageError,
    errors,
)


@pytest.mark.parametrize(
    ("kind", "status"), [(BundleError, 1), (BackendError, 1), (UsageError, 2), (InputError, 2)]
)
def test_exit_status(kind: type[TinsmithError], status: int) -> None:
    assert issubclass(kind, TinsmithError)
    assert kind.exit_status == status
    assert f"{kind.__name__} " in errors.__doc__


def test_message_is_one_line() -> None:
    assert str(BackendError("an engine says:\n  first\n\tsecond")) == "an engine says: first second"
    assert str(BackendError("two  spaces.png: stay")) == "two  spaces.png: stay"
