"""The error of the data room."""

from tinsmith_runtime.errors import UsageError


class DatasetError(UsageError):
    """Data that cannot be found, is damaged, or is not what it must be; exit status 2."""
