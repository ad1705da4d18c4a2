"""What the build works out: `tinsmith` needs the runtime of its own version."""

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Dependencies(MetadataHookInterface):
    """The two distributions are made together, and go together."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds the dependencies."""
        runtime = f"tinsmith-runtime=={metadata['version']}"
        metadata["dependencies"] = [runtime, "numpy", "rich", "scipy"]
