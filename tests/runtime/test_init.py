import tinsmith_runtime

EXPORTED = {
    "BackendError",
    "Bundle",
    "BundleError",
    "Detection",
    "InputError",
    "Manifest",
    "Model",
    "Prediction",
    "SelfTest",
    "TinsmithError",
    "UsageError",
    "Variant",
    "inspect",
    "installed_backends",
    "load",
    "open_model",
    "read_bundle",
    "selftest",
    "write_bundle",
}


def test_exported_names() -> None:
    assert set(tinsmith_runtime.__all__) == EXPORTED
    assert all(getattr(tinsmith_runtime, name).__doc__ for name in EXPORTED)
