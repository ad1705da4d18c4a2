"""What the build works out for itself: the version of the runtime that tinsmith needs, its own."""

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Dependencies(MetadataHookInterface):
    """The two distributions are made together, and go together."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds the dependencies."""
        metadata["dependencies"] = [f"tinsmith-runtime=={metadata['version']}", "numpy", "rich"]
