"""The errors of the train room.

TinsmithError
├── StoppedError       130  Ctrl-C came before there was anything to keep
├── RunFolderError       1  the results cannot be written
└── UsageError
    └── DatasetError     2  a dataset that is missing, damaged, or not what it must be
"""

from tinsmith_runtime.errors import TinsmithError, UsageError


class StoppedError(TinsmithError):
    """Ctrl-C, before the first epoch was over."""

    exit_status = 130


class RunFolderError(TinsmithError):
    """Results that cannot be written where they should go."""


class DatasetError(UsageError):
    """A dataset that cannot be found, is damaged, or holds what no model can be trained on."""
