"""The backends of this distribution, in the order in which `auto` takes them.

They are in its entry points too, which take longer to read than a small bundle takes to load: see
`docs/decisions/backends-are-found.md`.
"""

from tinsmith_runtime.backends.spec import BackendSpec

LITERT = BackendSpec(
    name="litert",
    title="LiteRT",
    formats=("tflite",),
    packages=("ai_edge_litert", "tflite_runtime"),
    extra="tinsmith-runtime[litert]",
    opens="tinsmith_runtime.backends.litert:LiteRtBackend",
)
ONNX = BackendSpec(
    name="onnx",
    title="ONNX Runtime",
    formats=("onnx",),
    packages=("onnxruntime",),
    extra="tinsmith-runtime[onnx]",
    opens="tinsmith_runtime.backends.ort:OrtBackend",
)
BUILT_IN = (LITERT, ONNX)
