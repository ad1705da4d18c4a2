"""What a search refuses."""

from tinsmith_runtime import TinsmithError


class SearchError(TinsmithError):
    """A space, a goal, a storage or a board that cannot be used, said in one line."""
