"""Whose a bundle is: keys, signatures, and every way in which one may be wrong."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from numpy.typing import NDArray

from tinsmith_runtime import Bundle, BundleError, UsageError, load, read_bundle, write_bundle
from tinsmith_runtime.bundle import sha256
from tinsmith_runtime.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "release.md"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two key pairs, `ours` and `theirs`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        assert main(["keygen", str(folder / name)]) == 0
    return folder


@pytest.fixture
def signed(tiny: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The tiny bundle with our signature."""
    path = tmp_path / "signed.tin"
    shutil.copy(tiny, path)
    assert main(["sign", str(path), "--key", str(keys / "ours.key")]) == 0
    capsys.readouterr()
    return path


@pytest.fixture
def signed_folder(folder: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["sign", str(folder), "--key", str(keys / "ours.key")]) == 0
    capsys.readouterr()
    return folder


def _refusal(path: Path, *trusted: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load(path, trusted_keys=trusted)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message


def _key_sha256(path: Path) -> str:
    key = serialization.load_pem_public_key(path.read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return sha256(key.public_bytes(*raw))


def test_sign_adds_one_file(signed: Path, tiny: Path, bundle: Bundle, keys: Path) -> None:
    with zipfile.ZipFile(signed) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert list(contents) == [*bundle.files, "manifest.sig"]
    signature = contents.pop("manifest.sig")
    assert contents == bundle.files
    public = serialization.load_pem_public_key((keys / "ours.pub").read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    public.verify(signature, b"tinsmith-bundle-v1\0" + bundle.files["manifest.json"])
    assert list(signed.parent.iterdir()) == [signed]


def test_an_installed_folder_is_signed_through_its_file(
    tiny: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "installed"
    assert main(["install", str(tiny), str(target)]) == 0
    before = sorted(tmp_path.rglob("*"))
    assert main(["sign", str(target), "--key", str(keys / "ours.key")]) == 2
    assert "sign the .tin file, install it again" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.both_engines
def test_load(
    signed: Path, signed_folder: Path, keys: Path, pixels: NDArray[np.uint8], bundle: Bundle
) -> None:
    pem = (keys / "ours.pub").read_bytes()
    theirs = keys / "theirs.pub"
    for path in (signed, signed_folder):
        for trusted in ([str(keys / "ours.pub")], [theirs, keys / "ours.pub"], [pem], None):
            with load(path, trusted_keys=trusted) as model:
                assert (model.predict_raw(pixels) == bundle.golden().outputs_int8).all()


def test_without_trusted_keys_as_any_other(
    signed: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["inspect"], ["selftest"], ["run", str(images / "c.npy")]):
        assert main([words[0], str(signed), *words[1:]]) == 0
    assert capsys.readouterr().err == ""


def test_same_key_same_bytes(
    signed: Path, folder: Path, tiny: Path, keys: Path, tmp_path: Path
) -> None:
    once = signed.read_bytes()
    ours = ["--key", str(keys / "ours.key")]
    assert main(["sign", str(signed), *ours]) == 0
    assert signed.read_bytes() == once
    for source in (tiny, folder, signed):
        out = tmp_path / "out.tin"
        assert main(["sign", str(source), *ours, "--out", str(out)]) == 0
        assert out.read_bytes() == once
    assert not (folder / "manifest.sig").exists()


def test_another_key_replaces_the_signature(signed: Path, keys: Path) -> None:
    assert main(["sign", str(signed), "--key", str(keys / "theirs.key")]) == 0
    load(signed, trusted_keys=[keys / "theirs.pub"]).close()
    assert "a signature that is not theirs" in _refusal(signed, keys / "ours.pub")


def test_sign_through_a_link(signed: Path, tiny: Path, keys: Path, tmp_path: Path) -> None:
    shutil.copy(tiny, tmp_path / "v1.tin")
    link = tmp_path / "current.tin"
    link.symlink_to("v1.tin")
    assert main(["sign", str(link), "--key", str(keys / "ours.key")]) == 0
    assert link.is_symlink()
    assert (tmp_path / "v1.tin").read_bytes() == signed.read_bytes()


def test_write_bundle_keeps_a_signature(signed: Path, tmp_path: Path) -> None:
    bundle = read_bundle(signed)
    files = {name: data for name, data in bundle.files.items() if name != "manifest.json"}
    write_bundle(tmp_path / "copy.tin", bundle.manifest, files)
    assert (tmp_path / "copy.tin").read_bytes() == signed.read_bytes()


def test_unsigned(tiny: Path, folder: Path, keys: Path) -> None:
    for path in (tiny, folder):
        message = _refusal(path, keys / "ours.pub")
        assert message.endswith(f"expected it signed by {keys / 'ours.pub'}, got no signature")


def test_foreign(signed: Path, signed_folder: Path, keys: Path) -> None:
    for path in (signed, signed_folder):
        assert "a signature that is not theirs" in _refusal(path, keys / "theirs.pub")


def test_signature_of_another_bundle(
    signed: Path,
    forge: Callable[..., Path],
    keys: Path,
    zipped: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    def relabel(tree: Any) -> None:
        tree["outputs"][0]["labels"] = ["one", "zero", "two"]

    other = read_bundle(forge(edit=relabel))
    signature = read_bundle(signed).files["manifest.sig"]
    path = tmp_path / "transplanted.tin"
    path.write_bytes(zipped({**other.files, "manifest.sig": signature}))
    read_bundle(path)
    assert "a signature that is not theirs" in _refusal(path, keys / "ours.pub")


def test_signature_of_the_bare_manifest(
    bundle: Bundle, keys: Path, zipped: Callable[..., bytes], tmp_path: Path
) -> None:
    """A key that signs other things too was not asked to sign a bundle."""
    private = serialization.load_pem_private_key((keys / "ours.key").read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    signature = private.sign(bundle.files["manifest.json"])
    path = tmp_path / "bare.tin"
    path.write_bytes(zipped({**bundle.files, "manifest.sig": signature}))
    assert "a signature that is not theirs" in _refusal(path, keys / "ours.pub")


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="takes half a minute there: 512 signatures")
def test_every_flipped_bit_of_the_signature(
    signed_folder: Path, keys: Path, zipped: Callable[..., bytes], tmp_path: Path
) -> None:
    """Packed again each time, so that nothing but the signature itself can find it."""
    files = read_bundle(signed_folder).files
    path = tmp_path / "flipped.tin"
    signature = bytearray(files["manifest.sig"])
    for bit in range(8 * len(signature)):
        signature[bit // 8] ^= 1 << bit % 8
        path.write_bytes(zipped({**files, "manifest.sig": bytes(signature)}))
        signature[bit // 8] ^= 1 << bit % 8
        assert "a signature that is not theirs" in _refusal(path, keys / "ours.pub")


@pytest.mark.slow
@pytest.mark.not_on_a_board(reason="takes minutes there: thousands of bundles")
def test_every_flipped_byte_of_the_file(signed: Path, tmp_path: Path) -> None:
    """In the last file and the zip's bookkeeping, even where no key is asked for."""
    data = bytearray(signed.read_bytes())
    path = tmp_path / "flipped.tin"
    for position in range(data.index(b"manifest.sig") - 30, len(data)):
        data[position] ^= 0x20
        path.write_bytes(data)
        data[position] ^= 0x20
        with pytest.raises(BundleError):
            read_bundle(path)


@pytest.mark.parametrize("name", ["manifest.json", "golden.npz", "model.int8.onnx"])
def test_altered_file(signed_folder: Path, keys: Path, name: str) -> None:
    data = bytearray((signed_folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (signed_folder / name).write_bytes(data)
    _refusal(signed_folder, keys / "ours.pub")


def test_stripped(signed_folder: Path, keys: Path) -> None:
    (signed_folder / "manifest.sig").unlink()
    assert "got no signature" in _refusal(signed_folder, keys / "ours.pub")


@pytest.mark.parametrize("length", [0, 63, 65])
def test_wrong_length(
    folder: Path, bundle: Bundle, zipped: Callable[..., bytes], tmp_path: Path, length: int
) -> None:
    path = tmp_path / "length.tin"
    path.write_bytes(zipped({**bundle.files, "manifest.sig": bytes(length)}))
    (folder / "manifest.sig").write_bytes(bytes(length))
    for place in (path, folder):
        with pytest.raises(BundleError, match=rf"manifest\.sig: expected .*64 bytes, got {length}"):
            read_bundle(place)


def test_link_in_a_folder(signed_folder: Path, tmp_path: Path) -> None:
    (signed_folder / "manifest.sig").rename(tmp_path / "elsewhere")
    (signed_folder / "manifest.sig").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"manifest\.sig: expected a file"):
        read_bundle(signed_folder)


@pytest.mark.parametrize("name", ["manifest.sig2", "MANIFEST.SIG", "golden.npz.sig"])
def test_other_undeclared_file(
    signed: Path, tmp_path: Path, zipped: Callable[..., bytes], name: str
) -> None:
    files = read_bundle(signed).files
    path = tmp_path / "more.tin"
    for contents in ({**files, name: bytes(64)}, {name: bytes(64), **files}):
        path.write_bytes(zipped(contents))
        with pytest.raises(BundleError, match="the zip is not as tinsmith writes it"):
            read_bundle(path)


def test_signature_in_another_place(
    signed: Path, tmp_path: Path, zipped: Callable[..., bytes]
) -> None:
    files = dict(read_bundle(signed).files)
    path = tmp_path / "order.tin"
    path.write_bytes(zipped({"manifest.sig": files.pop("manifest.sig"), **files}))
    with pytest.raises(BundleError, match="the zip is not as tinsmith writes it"):
        read_bundle(path)


def test_name_of_the_signature_is_taken(
    bundle: Bundle, tmp_path: Path, zipped: Callable[..., bytes], seal: Callable[[Any], bytes]
) -> None:
    tree = json.loads(bundle.files["manifest.json"])
    tree["golden"]["file"] = "manifest.sig"
    files = {name: data for name, data in bundle.files.items() if name != "golden.npz"}
    path = tmp_path / "taken.tin"
    path.write_bytes(
        zipped({**files, "manifest.json": seal(tree), "manifest.sig": bundle.files["golden.npz"]})
    )
    with pytest.raises(BundleError, match=r"golden\.file: manifest\.sig is the signature's name"):
        read_bundle(path)


@pytest.mark.parametrize("trusted", [[], (), "ours.pub", b"PEM", Path("ours.pub")])
def test_no_list_of_keys_is_no_permission(signed: Path, trusted: Any) -> None:
    with pytest.raises(UsageError, match="trusted_keys: expected a list of at least one"):
        load(signed, trusted_keys=trusted)


def test_bad_trusted_keys(signed: Path, keys: Path, tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1()).public_key()
    pem = other.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for key in (b"", b"not PEM", pem, keys / "ours.key"):
        with pytest.raises(UsageError, match="expected an Ed25519 public key in PEM"):
            load(signed, trusted_keys=[keys / "ours.pub", key])
    for key in (tmp_path / "none.pub", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            load(signed, trusted_keys=[keys / "ours.pub", key])


def test_bad_private_keys(
    signed: Path,
    keys: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    locked = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    (tmp_path / "locked.key").write_bytes(locked)
    (tmp_path / "text.key").write_text("hello")
    before = signed.read_bytes()
    for key in (tmp_path / "locked.key", tmp_path / "text.key", keys / "ours.pub"):
        assert main(["sign", str(signed), "--key", str(key)]) == 2
        assert f"{key}: expected an Ed25519 private key" in one_line(capsys.readouterr().err)
    assert main(["sign", str(signed), "--key", str(tmp_path / "none.key")]) == 2
    assert "none.key: cannot be read: No such file" in one_line(capsys.readouterr().err)
    assert signed.read_bytes() == before


def test_damaged_bundle_is_not_signed(
    signed: Path, keys: Path, capsys: pytest.CaptureFixture[str], one_line: Callable[[str], str]
) -> None:
    data = signed.read_bytes()[:-1]
    signed.write_bytes(data)
    assert main(["sign", str(signed), "--key", str(keys / "ours.key")]) == 1
    one_line(capsys.readouterr().err)
    assert signed.read_bytes() == data


@pytest.mark.parametrize("place", ["file", "folder"])
def test_killed_while_signing_leaves_the_old_one(
    tiny: Path,
    folder: Path,
    keys: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    path = folder if place == "folder" else tmp_path / "tiny.tin"
    if place == "file":
        shutil.copy(tiny, path)

    def die(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    before = sorted(tmp_path.rglob("*"))
    assert main(["sign", str(path), "--key", str(keys / "ours.key")]) == 130
    assert sorted(tmp_path.rglob("*")) == before
    assert "manifest.sig" not in read_bundle(path).files


def test_keygen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", str(tmp_path / "release")]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert _key_sha256(tmp_path / "release.pub") in captured.out
    assert "PRIVATE" not in captured.out
    assert (tmp_path / "release.key").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert (tmp_path / "release.pub").read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----\n")


def test_owner_only_from_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, really = {}, os.open

    def spy(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        descriptor = really(path, flags, mode, **options)
        if Path(path).suffix in (".key", ".pub"):
            status = os.fstat(descriptor)
            made[Path(path).name] = (stat.S_IMODE(status.st_mode), status.st_size)
        return descriptor

    monkeypatch.setattr(os, "open", spy)
    umask = os.umask(0)
    try:
        assert main(["keygen", str(tmp_path / "k")]) == 0
    finally:
        os.umask(umask)
    assert made == {"k.key": (0o600, 0), "k.pub": (0o644, 0)}
    assert stat.S_IMODE((tmp_path / "k.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["k.key", "k.pub"])
@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_never_overwritten(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
    name: str,
    kind: str,
) -> None:
    path = tmp_path / name
    if kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(tmp_path / "nowhere")
    assert main(["keygen", str(tmp_path / "k")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{path}: exists, and a key is never overwritten" in one_line(captured.err)
    assert list(tmp_path.iterdir()) == [path]
    if kind == "file":
        assert path.read_text() == "precious"


def test_keygen_in_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], one_line: Callable[[str], str]
) -> None:
    assert main(["keygen", str(tmp_path / "none" / "k")]) == 2
    assert "k.key: cannot be written: No such file" in one_line(capsys.readouterr().err)


def test_verify(signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = str(keys / "ours.pub"), str(keys / "theirs.pub")
    digest = _key_sha256(keys / "ours.pub")
    for options in (["--key", ours], ["--key", theirs, "--key", ours]):
        assert main(["verify", str(signed), *options]) == 0
        assert capsys.readouterr() == (f"{signed}: signed by {ours} (sha256 {digest})\n", "")
    assert main(["verify", str(signed), "--key", ours, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "bundle": str(signed),
        "key": ours,
        "key_sha256": digest,
    }


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_verify_fails(
    signed: Path,
    tiny: Path,
    keys: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
    options: list[str],
) -> None:
    for path, message in ((signed, "a signature that is not theirs"), (tiny, "got no signature")):
        assert main(["verify", str(path), "--key", str(keys / "theirs.pub"), *options]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert message in one_line(captured.err)


def test_json_of_keygen_and_sign(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keygen", str(tmp_path / "k"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    key, out = str(tmp_path / "k.key"), str(tmp_path / "out.tin")
    assert made == {"key": key, "key_sha256": _key_sha256(tmp_path / "k.pub")}
    assert main(["sign", str(tiny), "--key", key, "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bundle": out, **made}


def test_without_cryptography(
    signed: Path,
    keys: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for words in (
        ["keygen", tmp_path / "k"],
        ["sign", signed, "--key", keys / "ours.key"],
        ["verify", signed, "--key", keys / "ours.pub"],
    ):
        assert main([str(word) for word in words]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "pip install 'tinsmith-runtime[sign]'" in one_line(captured.err)
    with pytest.raises(UsageError, match=r"tinsmith-runtime\[sign\]"):
        load(signed, trusted_keys=[keys / "ours.pub"])
    load(signed).close()
    assert list(tmp_path.iterdir()) == [signed]


def test_cryptography_stays_away_until_it_is_needed(
    child: Callable[..., subprocess.CompletedProcess[str]], signed: Path
) -> None:
    script = f"""
import sys
from tinsmith_runtime.cli import main
assert main(["selftest", {str(signed)!r}]) == 0
assert "cryptography" not in sys.modules
"""
    done = child("-c", script)
    assert (done.returncode, done.stderr) == (0, "")


def test_readme(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page on releases tells people to type, in its order."""
    shutil.copy(tiny, tmp_path / "digits.tin")
    monkeypatch.chdir(tmp_path)
    section = PAGE.read_text(encoding="utf-8").split("\n## ")[1]
    assert section.startswith("Sign a bundle")
    lines = [shlex.split(line, comments=True) for line in section.split("```")[1].splitlines()]
    typed = [words[1:] for words in lines if words and words[0] == "tinsmith"]
    assert [words[0] for words in typed] == ["keygen", "sign", "verify"]
    assert [main(words) for words in typed] == [0, 0, 0]
    (call,) = re.findall(r"`(load\(.*?\))`", section)
    eval(call, {"load": load}).close()
