"""Signatures in OpenSSH's format: ssh-keygen reads ours, we read its, and nothing else passes."""

from __future__ import annotations

import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.identity import sshsig

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
MESSAGE = b"a manifest\n"


def line(key: Ed25519PrivateKey, name: str = "carol@example.com") -> str:
    return f"{name} {key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()}\n"


ALLOWED = sshsig.signers(line(KEY))


def run(*command: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(word) for word in command], input=stdin, capture_output=True, check=False)


def test_ssh_keygen_verifies_what_we_sign(tmp_path: Path) -> None:
    (tmp_path / "signers").write_text(line(KEY))
    (tmp_path / "sig").write_text(sshsig.sign(MESSAGE, KEY, "sallyport-policy"))
    check = (
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        tmp_path / "signers",
        "-I",
        "carol@example.com",
        "-s",
        tmp_path / "sig",
        "-n",
    )
    assert run(*check, "sallyport-policy", stdin=MESSAGE).returncode == 0
    assert run(*check, "sallyport-policy", stdin=MESSAGE + b"x").returncode != 0
    assert run(*check, "git", stdin=MESSAGE).returncode != 0


def test_we_verify_what_ssh_keygen_signs(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    key.chmod(0o600)
    (tmp_path / "manifest").write_bytes(MESSAGE)
    assert run("ssh-keygen", "-Y", "sign", "-f", key, "-n", "sallyport-policy", tmp_path / "manifest").returncode == 0
    signer = sshsig.verify(MESSAGE, (tmp_path / "manifest.sig").read_text(), ALLOWED, "sallyport-policy")
    assert signer.name == "carol@example.com"
    assert signer.fingerprint in run("ssh-keygen", "-l", "-f", key).stdout.decode()


def test_every_changed_byte_is_refused() -> None:
    good = sshsig.sign(MESSAGE, KEY, "n")
    blob = b64decode("".join(good.splitlines()[1:-1]))
    for place in range(len(blob)):
        bad = blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]
        text = f"{sshsig.BEGIN}\n{b64encode(bad).decode()}\n{sshsig.END}\n"
        with pytest.raises(ValueError):
            sshsig.verify(MESSAGE, text, ALLOWED, "n")


@pytest.mark.parametrize(
    ("message", "signature", "namespace", "told"),
    [
        (b"another", sshsig.sign(MESSAGE, KEY, "n"), "n", "the signature of carol@example.com is of something else"),
        (MESSAGE, sshsig.sign(MESSAGE, KEY, "git"), "n", "for another purpose"),
        (MESSAGE, sshsig.sign(MESSAGE, OTHER, "n"), "n", "none of the allowed signers"),
        (MESSAGE, "", "n", "there is no signature"),
        (MESSAGE, "x" * 10_000, "n", "there is no signature"),
        (MESSAGE, f"{sshsig.BEGIN}\nAAAA\n{sshsig.END}", "n", "there is no signature"),
        (MESSAGE, f"{sshsig.BEGIN}\n!\n{sshsig.END}", "n", "there is no signature"),
    ],
)
def test_what_does_not_hold_is_refused_with_its_reason(
    message: bytes, signature: str, namespace: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        sshsig.verify(message, signature, ALLOWED, namespace)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("carol ssh-rsa AAAA\n", "line 1 is no signer"),
        ("# a comment\n\ncarol ssh-ed25519\n", "line 3 is no signer"),
        ("carol ssh-ed25519 AAAA\n", "line 1 holds no Ed25519 key"),
        ('carol namespaces="git" ssh-ed25519 AAAA\n', "line 1 is no signer"),
        ("carol ssh-ed25519 ???\n", "line 1 holds no Ed25519 key"),
    ],
)
def test_a_wrong_line_of_allowed_signers_is_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sshsig.signers(text)
