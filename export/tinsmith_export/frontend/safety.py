"""The check of a model's configuration, before either Keras sees it.

A configuration is a tree of JSON that names classes and functions. Keras imports what it names,
builds it and calls it. So all of the tree is walked, whatever the place, and each name in it
must be one of `allowed`, or one that the user gave.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend import allowed
from tinsmith_export.frontend.calls import SHAPES, require_order, require_tensors, unsupported
from tinsmith_export.frontend.cures import CURE, cure
from tinsmith_runtime.errors import TinsmithError

MAX_DEPTH = 128
MAX_CALLS = 50_000
"""How often layers may be called while a model is built; a model in a model counts each time."""

# What only a model that was quantized before has.
QUANTIZED = ("QuantizeWrapper", "QuantizeWrapperV2", "QuantizeLayer", "QuantizedDTypePolicy")
_CODE = ("Lambda", "__lambda__")
# Settings by which a layer is given tensors or types, or runs step by step; no model needs them.
_FORBIDDEN = ("input_tensor", "type_spec", "weights", "dynamic")
_PARTS = ("initializer", "regularizer", "constraint")


def check_configuration(
    config: Any, known: Mapping[str, Any], registered: Set[str], slow: Set[str] = frozenset()
) -> None:
    """Refuses a configuration that could make Keras run, import, open or call what it names.

    Args:
        config: of a model, as `config.json` or `model_config` hold it.
        known: the user's own classes and functions, by every name that Keras gives them.
        registered: names under which other classes and functions are registered in this process.
        slow: layers that the Keras at hand builds step by step, however many steps there are.

    Raises:
        UnsupportedLayerError: it names what is not allowed; the message names the layers.
        TinsmithError: it is no model's configuration, quantized, or would be built for ever.
    """
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise TinsmithError("its configuration is not that of a model: save it with model.save")
    check = _Check(known, registered - known.keys(), slow)
    check.walk(config, _Place())
    if check.reasons:
        raise UnsupportedLayerError(*check.reasons)


@dataclass(frozen=True)
class _Place:
    """Where in a configuration the walk is.

    Attributes:
        layer: the innermost layer around.
        key: under which the value stands.
        depth: how many lists and objects are around it.
        call: whether it is a layer of a `Functional` model, whose calls are listed.
    """

    layer: str = "model"
    key: str = ""
    depth: int = 0
    call: bool = False

    def inside(self, key: str | None = None, layer: str | None = None, call: bool = False) -> Any:
        named = self.key if key is None else key
        return _Place(layer or self.layer, named, self.depth + 1, call)


@dataclass
class _Check:
    known: Mapping[str, Any]
    registered: Set[str]
    slow: Set[str]
    shared: dict[Any, int] = field(default_factory=dict)  # calls by the number of a shared object
    reasons: list[str] = field(default_factory=list)  # why layers are refused

    def walk(self, tree: Any, place: _Place) -> int:
        """Checks a value and what is in it, and counts the calls of layers that it stands for."""
        if place.depth > MAX_DEPTH:
            raise TinsmithError(
                f"layer `{place.layer}`: its configuration is nested more than {MAX_DEPTH} deep"
            )
        if isinstance(tree, str):
            self._check_text(tree, place)
        elif isinstance(tree, list):
            return sum(self._branch(branch, place) for branch in tree)
        elif isinstance(tree, dict):
            calls = self._object(tree, place) if "class_name" in tree else self._walk(tree, place)
            if calls > MAX_CALLS:
                raise TinsmithError(
                    f"layer `{place.layer}`: building the model takes more than {MAX_CALLS} calls "
                    "of its layers: call models inside models less often"
                )
            return calls
        return 0

    def _branch(self, branch: Any, place: _Place) -> int:
        """Checks what is in a list; of layers all that are refused are noted."""
        if place.key != "layers":
            return self.walk(branch, place.inside())
        try:
            return self.walk(branch, place.inside())
        except UnsupportedLayerError as error:
            self.reasons += error.reasons
            return 0

    def _walk(self, tree: Mapping[str, Any], place: _Place) -> int:
        """Checks the settings of an object."""
        for key, value in tree.items():
            if key in _FORBIDDEN and value:
                raise unsupported(f"layer `{place.layer}` sets `{key}`, which is not loaded")
            if key == "unroll" and value:
                raise unsupported(
                    f"layer `{place.layer}` has unroll=True, which is not loaded: save it with "
                    "unroll=False, which computes the same"
                )
            if key == "quantization_config" and value:
                raise already_quantized(place.layer, "quantization_config")
        call = isinstance(tree.get("layers"), list)
        return sum(
            self.walk(value, place.inside(key, call=call and key == "layers"))
            for key, value in tree.items()
        )

    def _object(self, entry: Mapping[str, Any], place: _Place) -> int:
        """Checks an object of a class, a function or a value."""
        kind, config = entry["class_name"], entry.get("config")
        named = config.get("name") if isinstance(config, dict) else None
        if not isinstance(kind, str):
            where = named or place.layer
            raise TinsmithError(f"layer `{where}`: expected the name of its class, got {kind}")
        if kind in allowed.VALUES:
            if not {"module", "registered_name"}.isdisjoint(entry):
                raise _foreign(place, f"{entry.get('module')}.{kind}", kind)
            return self._walk(entry, place)
        own = (
            kind in allowed.LAYERS
            or place.key in ("layers", "layer", "backward_layer")
            or place.depth == 0
        )
        name = str(named or entry.get("name") or kind) if own else place.layer
        inside = place.inside(layer=name)
        self._check_class(entry, kind, name, place)
        nodes = entry.get("inbound_nodes")
        if isinstance(nodes, list):
            for node in nodes:
                require_tensors(node, name)
        if isinstance(config, dict) and isinstance(config.get("layers"), list):
            require_order(config, name)
        calls = 1 + self._walk({k: v for k, v in entry.items() if k != "class_name"}, inside)
        number = str(entry.get("shared_object_id"))
        calls = max(calls, self.shared.get(number, 0))
        if "shared_object_id" in entry:
            self.shared[number] = calls
        return calls * max(1, len(nodes) if isinstance(nodes, list) else 1)

    def _check_class(self, entry: Mapping[str, Any], kind: str, name: str, place: _Place) -> None:
        plain, module = kind.rpartition(">")[2], entry.get("module")
        config, given = entry.get("config"), entry.get("registered_name", kind)
        if plain in QUANTIZED:
            raise already_quantized(name, kind)
        if plain in _CODE:
            which = place.layer if kind == "__lambda__" else name
            raise UnsupportedLayerError(
                f"layer `{which}` (Lambda) carries code, which is not run: write it as a layer "
                "class of your own and name that with "
                "--custom-objects module:NAME, or save the model with model.export('FOLDER') and "
                "compile the folder"
            )
        if kind == "function":
            ours = module in allowed.FUNCTION_MODULES and config in allowed.FUNCTIONS
            if not isinstance(config, str) or not (
                config in self.known or (ours and given in (None, "function", config))
            ):
                raise _foreign(place, f"{module}.{config}", str(config), "function")
            return
        # What Keras looks a class of the user's up by is the registered name, or without it the
        # class's; a file that says one of the user's names alone would have another class imported.
        same = kind in self.known or (module is not None and given == f"Custom>{kind}")
        if isinstance(given, str) and given in self.known and same:
            return
        if kind in self.slow:
            raise unsupported(f"layer `{name}` ({kind}) is not compiled and not loaded")
        if module is None:
            if kind in allowed.ALONE and given in (None, kind):
                self._check_function(entry, name, place)
                return
            raise UnsupportedLayerError(
                f"layer `{name}` ({kind}) is not one of Keras's own that are loaded: if it is "
                f"yours, name its class with --custom-objects module:{plain}, else {CURE}"
            )
        found = allowed.MODULES.get(module, ()) if isinstance(module, str) else ()
        hub = str(module).startswith(allowed.HUB)
        if kind not in found or given not in ((f"{allowed.HUB}>{kind}",) if hub else (None, kind)):
            raise _foreign(replace(place, layer=name), f"{module}.{kind}", kind)
        if hub and find_spec(allowed.HUB) is None:
            raise UnsupportedLayerError(
                f"layer `{name}` ({kind}) is of keras-hub, which is not installed: "
                "pip install keras-hub"
            )
        if kind.startswith(("DTypePolicy", "Policy")) and isinstance(config, dict):
            self._check_text(str(config.get("name", "float32")), replace(place, key="dtype"))
        self._check_function(entry, name, place)

    def _check_function(self, entry: Mapping[str, Any], name: str, place: _Place) -> None:
        """Checks the function of TensorFlow that a layer calls."""
        if entry["class_name"] not in ("TFOpLambda", "SlicingOpLambda"):
            return
        config = entry.get("config")
        function = config.get("function") if isinstance(config, dict) else None
        if not isinstance(function, str) or function not in allowed.TF_FUNCTIONS:
            raise unsupported(
                f"layer `{name}` calls TensorFlow's {function}, which is not compiled and not "
                "loaded"
            )
        if function in SHAPES and not place.call:
            raise unsupported(f"layer `{name}` asks for a size outside of a functional model")

    def _check_text(self, text: str, place: _Place) -> None:
        """Checks a text that Keras may take for the name of a function, a class or a type."""
        key = place.key
        if text in self.registered:
            raise _foreign(place, text, text, "function")
        if text in self.known:
            return
        if key.endswith("activation") and text not in allowed.ACTIVATIONS:
            raise _foreign(place, text, text, "function")
        if key.endswith(_PARTS) and text not in allowed.PARTS:
            raise _foreign(place, text, text)
        if key == "dtype" and text not in allowed.TYPES:
            if "_from_" in text or text.startswith("float8"):
                raise already_quantized(place.layer, text)
            raise unsupported(f"layer `{place.layer}` computes with {text}, which is not loaded")


def already_quantized(name: str, kind: str) -> TinsmithError:
    """The error for a model that was quantized before."""
    return TinsmithError(
        f"layer `{name}` ({kind}): the model is quantized already: give the float model that it "
        "was made of"
    )


def _foreign(place: _Place, path: str, name: str, what: str = "class") -> UnsupportedLayerError:
    """The error for a class or a function that is not allowed."""
    module = path.rpartition(".")[0]
    if module in allowed.MODULES and what == "class":
        return UnsupportedLayerError(
            f"layer `{place.layer}` names {path}, which is not compiled: {cure(name)}"
        )
    if place.key in ("layers", "layer", ""):
        title = f"layer `{place.layer}` ({path})"
    elif what == "function":
        title = f"layer `{place.layer}`: function `{name}` ({place.key})"
    else:
        title = f"layer `{place.layer}`: {path} ({place.key})"
    module = "module" if module in ("", "None", "builtins") else module
    return UnsupportedLayerError(
        f"{title} is not one of Keras's own that are loaded: if it is yours, name it with "
        f"--custom-objects {module}:{name.rpartition('>')[2]}"
    )
