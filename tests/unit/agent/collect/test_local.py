"""What the device's own list adds: files by hash, programs that run only as they were hashed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from agent.collect import Collection, custom, files, own
from agent.collect.linux import sealed
from agent.collect.local import Custom, Local, load, parse_local
from agent.collect.reading import Unreadable

HASH = "ab" * 32
TEXT = f"""files = ["/etc/motd"]
certificates = ["/etc/ssl/device.pem"]
[custom.vpn-profile]
path = "/usr/local/bin/profile"
sha256 = "{HASH}"
run = true
timeout = 2
"""


def test_a_list_names_files_certificates_and_programs() -> None:
    found = Custom(Path("/usr/local/bin/profile"), HASH, run=True, timeout=2)
    assert parse_local(TEXT) == Local(("/etc/motd",), ("/etc/ssl/device.pem",), {"vpn-profile": found})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("file = []", "'file' is no key"),
        ('files = ["motd"]', "files must be"),
        ("files = 5", "files must be"),
        ("files = [" + '"/a",' * 51 + "]", "files must be"),
        ("custom = 5", "custom must be"),
        ("[custom.Name]\npath='/a'\nsha256=''", "a name has"),
        ("[custom.a]\npath='/a'", "has path and sha256"),
        (f"[custom.a]\npath='/a'\nsha256='{HASH}'\nargs=['x']", "has path and sha256"),
        (f"[custom.a]\npath='a'\nsha256='{HASH}'", "absolute path"),
        ("[custom.a]\npath='/a'\nsha256='12'", "64 hex digits"),
        (f"[custom.a]\npath='/a'\nsha256='{HASH}'\nrun='yes'", "custom.a.run"),
        (f"[custom.a]\npath='/a'\nsha256='{HASH}'\ntimeout=0", "timeout must be"),
        (f"[custom.a]\npath='/a'\nsha256='{HASH}'\ntimeout=nan", "timeout must be"),
        (f"[custom.a]\npath='/a'\nsha256='{HASH}'\ntimeout=true", "custom.a.timeout"),
        ("[[[", "facts.toml"),
        ("\0", "facts.toml"),
        ("a=" + "[" * 5000, "facts.toml"),
    ],
)
def test_a_list_that_is_wrong_is_refused_with_the_key_and_what_is_allowed(text: str, named: str) -> None:
    with pytest.raises(Unreadable, match=named):
        parse_local(text)


def test_a_list_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "facts.toml"
    assert load(path) == Local()
    path.write_text(TEXT)
    path.chmod(0o644)
    assert load(path).files == ("/etc/motd",)
    for mode in (0o664, 0o646):
        path.chmod(mode)
        with pytest.raises(Unreadable, match="others than root"):
            load(path)


def program(folder: Path, text: str, *, mode: int = 0o755) -> Custom:
    folder.chmod(0o755)
    path = folder / "program"
    path.write_text(text)
    path.chmod(mode)
    return Custom(path, hashlib.sha256(text.encode()).hexdigest(), run=True)


def told(listed: Custom) -> Any:
    fact = custom.collect({"x": listed}, sealed.run, now=1.0)["custom.x"]
    return fact.value if fact.absent is None else fact.absent


@pytest.mark.parametrize(
    ("script", "value"),
    [("echo blue", "blue"), ("echo true", True), ("echo 42", 42), ("echo '\"a text\"'", "a text"), ("echo 1.5", 1.5)],
)
def test_a_program_says_a_text_a_number_or_a_truth(tmp_path: Path, script: str, value: Any) -> None:
    listed = program(tmp_path, f"#!/bin/sh\n{script}\n")
    assert told(listed) == {"value": value, "sha256": listed.sha256}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "status 3"),
        ("echo null", "no text"),
        ("echo '[1]'", "no text"),
        ("echo NaN", "no text"),
        ("true", "no text"),
        ("sleep 60", "timed out"),
        ("head -c 100 /dev/zero", "no text"),
    ],
)
def test_a_program_that_fails_or_says_something_else_is_no_fact(tmp_path: Path, script: str, reason: str) -> None:
    listed = program(tmp_path, f"#!/bin/sh\n{script}\n")
    assert reason in told(Custom(listed.path, listed.sha256, run=True, timeout=1.0))


def test_a_program_that_was_changed_does_not_run(tmp_path: Path) -> None:
    listed = program(tmp_path, "#!/bin/sh\necho good\n")
    listed.path.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho good\n")
    assert "another SHA-256" in told(listed)
    assert not (tmp_path / "ran").exists()


def test_a_program_that_others_may_write_does_not_run(tmp_path: Path) -> None:
    assert "others than root" in told(program(tmp_path, "#!/bin/sh\necho good\n", mode=0o777))


def test_what_runs_is_what_was_hashed_even_when_the_file_is_exchanged_in_between(tmp_path: Path) -> None:
    listed = program(tmp_path, "#!/bin/sh\necho good\n")

    def exchange(asked: Custom, data: bytes) -> bytes:
        listed.path.write_text("#!/bin/sh\necho evil\n")
        return sealed.run(asked, data)

    fact = custom.collect({"x": listed}, exchange, now=1.0)["custom.x"]
    assert fact.value["value"] == "good"


def test_a_program_runs_as_nobody_without_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    listed = program(tmp_path, '#!/bin/sh\necho "$(id -un) $SECRET$HOME"\n')
    expected = "nobody" if os.geteuid() == 0 else os.environ.get("USER", "")
    assert told(listed)["value"].startswith(expected)
    assert told(listed)["value"].endswith(" /nonexistent")


def test_a_file_is_told_with_its_own_hash_whatever_the_list_says(tmp_path: Path) -> None:
    path = tmp_path / "zone"
    path.write_text("blue\nsecond line\n")
    expected = {"value": "blue", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert told(Custom(path, HASH)) == expected


def test_a_platform_that_runs_nothing_says_so(tmp_path: Path) -> None:
    listed = program(tmp_path, "#!/bin/sh\necho good\n")
    fact = custom.collect({"x": listed}, custom.cannot_run, now=1.0)["custom.x"]
    assert "not from programs" in str(fact.absent)


def test_files_are_hashed_or_said_to_be_absent_or_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    os.mkfifo(tmp_path / "pipe")
    wanted = [str(tmp_path / name) for name in ("a", "gone", "pipe")]
    found = files.collect(wanted, now=1.0)["files.sha256"].value
    assert [found[path] for path in wanted] == [
        hashlib.sha256(b"a").hexdigest(),
        "absent",
        "unreadable: no regular file",
    ]


def test_the_collection_takes_what_the_list_adds(tmp_path: Path) -> None:
    listed = program(tmp_path, "#!/bin/sh\necho blue\n")
    path = tmp_path / "facts.toml"
    path.write_text(
        f'files = ["{listed.path}"]\n[custom.zone]\npath = "{listed.path}"\nsha256 = "{listed.sha256}"\nrun = true\n'
    )
    path.chmod(0o600)
    made = Collection(listed=path)
    assert made.collect("files", now=1.0)["files.sha256"].value[str(listed.path)] == listed.sha256
    assert made.collect("custom", now=1.0)["custom.zone"].value == {"value": "blue", "sha256": listed.sha256}
    path.write_text("files = 5\n")
    assert "files must be" in str(made.collect("files", now=1.0)["files.sha256"].absent)


def test_a_digest_of_the_agent_changes_with_any_of_its_files(tmp_path: Path) -> None:
    package = tmp_path / "agent"
    (package / "collect").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "collect" / "a.py").write_text("x = 1\n")
    before = own.digest(own.hash_files(package))
    assert own.digest(own.hash_files(package)) == before
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.pyc").write_bytes(b"x")
    assert own.digest(own.hash_files(package)) == before
    (package / "collect" / "a.py").write_text("x = 2\n")
    assert own.digest(own.hash_files(package)) != before


def test_a_working_copy_has_no_list_to_be_compared_with() -> None:
    facts = own.collect(now=1.0)
    assert set(facts) == set(own.FACTS)
    assert facts["agent.integrity"].value is not True
