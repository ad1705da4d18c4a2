"""Small backbones of keras-hub, with random weights, load as Keras's own models and compile."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from compiling import compiled, settle

from tinsmith_export import check
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.load import load_keras
from tinsmith_export.options import Options
from tinsmith_runtime.errors import TinsmithError

pytestmark = [
    pytest.mark.slow,
    # TensorFlow's and the tokenizers', as keras-hub imports them.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

SHAPE = (32, 32, 3)
BACKBONES: dict[str, dict[str, Any]] = {
    "ResNetBackbone": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 64],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_strides": [1, 2],
        "block_type": "basic_block",
    },
    "VGGBackbone": {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 16]},
    "DenseNetBackbone": {
        "stackwise_num_repeats": [2, 2],
        "compression_ratio": 0.5,
        "growth_rate": 8,
    },
    "XceptionBackbone": {
        "stackwise_conv_filters": [[8, 8], [16, 16]],
        "stackwise_pooling": [True, False],
    },
    "MobileNetBackbone": {
        "stackwise_expansion": [[8], [16]],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_filters": [[8], [16]],
        "stackwise_kernel_size": [[3], [3]],
        "stackwise_num_strides": [[2], [1]],
        "stackwise_se_ratio": [[0.25], [None]],
        "stackwise_activation": [["relu"], ["hard_swish"]],
        "stackwise_padding": [[1], [1]],
        "output_num_filters": 16,
        "depthwise_filters": 8,
        "depthwise_stride": 1,
        "depthwise_residual": False,
        "last_layer_filter": 16,
    },
    "EfficientNetBackbone": {
        "stackwise_width_coefficients": [1.0, 1.0],
        "stackwise_depth_coefficients": [1.0, 1.0],
        "stackwise_kernel_sizes": [3, 3],
        "stackwise_num_repeats": [1, 1],
        "stackwise_input_filters": [8, 8],
        "stackwise_output_filters": [8, 16],
        "stackwise_expansion_ratios": [1, 4],
        "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
        "stackwise_strides": [1, 2],
        "stackwise_block_types": ["v1", "v1"],
    },
    "CSPNetBackbone": {
        "stem_filters": 8,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "stackwise_depth": [1, 1],
        "stackwise_strides": [1, 2],
        "stackwise_num_filters": [8, 16],
        "stage_type": "dark",
        "block_type": "dark_block",
    },
    "ViTBackbone": {
        "patch_size": 8,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "mlp_dim": 32,
    },
}
"""Arguments of each, but for the size of images."""


def backbone(name: str) -> Any:
    hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    made: Any = getattr(hub.models, name)(**BACKBONES[name], image_shape=SHAPE)
    return made


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_loads_and_is_checked(name: str, tmp_path: Path) -> None:
    model = backbone(name)
    model.save(tmp_path / "model.keras")
    # EfficientNet's forgets the size that it was made with.
    found = check(tmp_path / "model.keras", Options(input_shape=SHAPE))
    assert found.refused == ()
    assert found.model_parameters == model.count_params()
    assert [target.refused for target in found.targets] == ["", "", ""]
    assert type(load_keras(tmp_path / "model.keras")).__name__ == name


@pytest.mark.parametrize("name", ["VGGBackbone", "XceptionBackbone", "ViTBackbone"])
def test_a_backbone_compiles(name: str, tmp_path: Path) -> None:
    settle(backbone(name)).save(tmp_path / "model.keras")
    made = compiled(load_keras(tmp_path / "model.keras"), count=16)
    assert made.parity.equal == made.parity.compared > 0


def renamed(tmp_path: Path, **fields: str) -> Path:
    """The file of a backbone whose configuration says something else."""
    backbone("VGGBackbone").save(tmp_path / "model.keras")
    with (
        zipfile.ZipFile(tmp_path / "model.keras") as source,
        zipfile.ZipFile(tmp_path / "other.keras", "w") as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                data = json.dumps({**json.loads(data), **fields}).encode()
            target.writestr(name, data)
    return tmp_path / "other.keras"


@pytest.mark.parametrize(
    "fields",
    [
        {"registered_name": "keras_hub>ResNetBackbone"},
        {"class_name": "VGGImageConverter"},
        {"module": "keras_hub.src.models.resnet.resnet_backbone"},
        {"module": "keras.layers", "class_name": "Dense"},
    ],
)
def test_nothing_else_of_keras_hub_is_loaded(fields: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(TinsmithError, match=r"layer `\w+`"):
        load_keras(renamed(tmp_path, **fields))


def test_without_keras_hub_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = renamed(tmp_path)
    monkeypatch.setattr("tinsmith_export.frontend.safety.find_spec", lambda _: None)
    with pytest.raises(UnsupportedLayerError, match=r"not installed: pip install keras-hub$"):
        load_keras(path)
