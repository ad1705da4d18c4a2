"""A bundle that is served: its models, and how a newer release takes their place."""

import asyncio
import json
import sys
from dataclasses import asdict

from tinsmith_runtime.api import load
from tinsmith_runtime.errors import TinsmithError, UsageError, printable
from tinsmith_runtime.serve.camera import Camera
from tinsmith_runtime.serve.metrics import Metrics
from tinsmith_runtime.serve.options import ServeOptions
from tinsmith_runtime.serve.pool import Pool


class Service:
    """What the paths answer from.

    Attributes:
        pool: the models; `reload` puts another in its place.
        camera: of this machine, where it is shown.
        metrics: what was counted.
        max_body_bytes: of a request.

    Args:
        options: what to serve.

    Raises:
        TinsmithError: as `load`; a camera was asked for, and the model takes no image.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self.metrics = Metrics()
        self.max_body_bytes = options.max_body_bytes
        self.pool = self._load()
        self.camera = Camera(options.camera) if options.camera is not None else None
        self._reloading = asyncio.Lock()

    def _load(self) -> Pool:
        options = self._options
        keys = options.trusted_keys
        model = load(options.bundle, options.backend, options.threads, trusted_keys=keys)
        kinds = [entry.kind for entry in model.inputs]
        if options.camera is not None and kinds != ["image"]:
            raise UsageError(f"--camera: the model takes {' and '.join(kinds)}, not one image")
        return Pool(model, options.workers)

    def described(self) -> bytes:
        """Says as JSON what runs, and what the manifest says of it."""
        model = self.pool.model
        description = {
            "name": self._options.bundle.resolve().name,
            "backend": model.backend,
            "engine": model.engine_version,
            "file": model.variant.file,
            "sha256": model.variant.sha256,
            "workers": self.pool.workers,
            "camera": self.camera is not None,
            "manifest": asdict(model.manifest),
        }
        return json.dumps(description).encode()

    async def reload(self) -> None:
        """Loads the bundle anew; where that fails, the one that runs goes on.

        Requests that are under way end on the model that they began with.
        """
        async with self._reloading:
            try:
                new = await asyncio.to_thread(self._load)
            except (TinsmithError, OSError) as error:
                said = printable(f"tinsmith: error: not reloaded: {error}")
                print(said, file=sys.stderr, flush=True)
                return
            # Here, between two requests: none is on its way to the old pool's line.
            old, self.pool = self.pool, new
            await asyncio.to_thread(old.close)
            found = new.model.variant.sha256[:12]
            print(f"tinsmith: reloaded {found}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Waits for what is under way, and frees everything."""
        if self.camera:
            self.camera.close()
        self.pool.close()
