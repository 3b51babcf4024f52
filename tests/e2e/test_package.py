"""The Debian package, built from this tree: installed, run and purged on a copy of this machine that is thrown away."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.__main__ import parser
from agent.package import debian, documents
from agent.wire import AGENT_VERSION

ROOT = Path(__file__).parents[2]
LARGEST = 40_000_000
"""Bytes that the agent may take on a disk, with everything that travels with it."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return debian.build(tmp_path_factory.mktemp("deb"))


def on_a_copy(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script as root on an overlay of this machine: what it writes is in `folder` and nowhere else."""
    for name in ("layers", "merged"):
        (folder / name).mkdir(exist_ok=True)
    mounts = f"""set -eu
mount -t tmpfs none {folder}/layers; mkdir {folder}/layers/upper {folder}/layers/working
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/layers/upper,workdir={folder}/layers/working {folder}/merged
mount --bind /dev {folder}/merged/dev; mount -t proc proc {folder}/merged/proc
mkdir -p {folder}/merged/run; mount -t tmpfs none {folder}/merged/run
exec chroot {folder}/merged /bin/sh -euc {shlex.quote(script)}
"""
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation", "private", "sh", "-c", mounts]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_it_installs_runs_and_leaves_nothing_when_purged(package: Path, tmp_path: Path) -> None:
    inside = tmp_path / "overlay"
    inside.mkdir()
    shutil.copy(package, inside / "agent.deb")
    done = on_a_copy(
        inside,
        f"""
        find / -xdev -name '*sallyport*' -not -path '/proc/*' -not -path '/tmp/*' -not -path '{ROOT}/*' 2>/dev/null | sort > /run/before
        dpkg --force-depends --install {inside}/agent.deb
        cd /; env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sallyport-agent --version
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sallyport-agent report --print | grep -c observed_at
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sallyport-agent status || echo "status $?"
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sallyport-agent down && echo "down 0"
        dpkg --verify sallyport-agent && echo verified
        mkdir -p /var/lib/sallyport-agent; touch /var/lib/sallyport-agent/device.pem
        dpkg --purge sallyport-agent
        find / -xdev -name '*sallyport*' -not -path '/proc/*' -not -path '/tmp/*' -not -path '{ROOT}/*' 2>/dev/null | sort > /run/after
        diff /run/before /run/after && echo "nothing left"
        """,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in (f"sallyport-agent {AGENT_VERSION}", "status 1", "down 0", "verified", "nothing left"):
        assert expected in done.stdout, done.stdout + done.stderr
    assert "this machine is not enrolled" in done.stderr


def test_it_is_as_small_as_promised_and_holds_no_server(package: Path) -> None:
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
    sizes = [int(line.split()[2]) for line in listed.splitlines() if line.startswith("-")]
    assert 5_000_000 < sum(sizes) < LARGEST
    assert not any(word in listed for word in ("/gateway/", "sqlalchemy", "httpx", "starlette", "__pycache__"))
    assert "systemd/system/sallyport-agent.service" in listed


def test_the_unit_is_one_that_systemd_takes_and_confines(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True)
    unit = tmp_path / "lib/systemd/system/sallyport-agent.service"
    text = unit.read_text().replace("/usr/bin/sallyport-agent", str(tmp_path / "usr/bin/sallyport-agent"))
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=45", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-400:]


# the manual page and the completions


def test_the_manual_page_names_every_command_and_option_and_is_sound(tmp_path: Path) -> None:
    documents.write(tmp_path)
    page = (tmp_path / "sallyport-agent.1").read_text()
    for name, (_, made) in documents.commands(parser()).items():
        assert f".B {name}" in page
        for flag in documents.flags(made):
            assert flag.replace("-", "\\-") in page or flag in ("-h", "--help")
    shown = subprocess.run(
        ["man", "--warnings", "-l", tmp_path / "sallyport-agent.1"], capture_output=True, text=True, check=True
    )
    assert shown.stderr == ""
    assert "bugreport" in shown.stdout


def test_bash_completes_commands_and_their_options(tmp_path: Path) -> None:
    documents.write(tmp_path)

    def completed(*words: str) -> set[str]:
        script = (
            f"source {tmp_path}/sallyport-agent.bash; COMP_WORDS=({' '.join(map(shlex.quote, words))}); "
            f"COMP_CWORD={len(words) - 1}; _sallyport_agent; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run(["bash", "-uc", script], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert completed("sallyport-agent", "") >= set(documents.commands(parser()))
    assert completed("sallyport-agent", "do") == {"doctor", "down"}
    assert completed("sallyport-agent", "status", "--") >= {"--json", "--watch"}
    assert "kernel" in completed("sallyport-agent", "run", "--backend", "k")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_are_told_every_command_and_option(tmp_path: Path, shell: str) -> None:
    documents.write(tmp_path)
    text = (tmp_path / f"sallyport-agent.{shell}").read_text()
    for name, (_, made) in documents.commands(parser()).items():
        assert name in text
        for flag in documents.flags(made):
            assert flag in text or f"-l {flag[2:]}" in text or flag == "-h"
    check = {"zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}[shell]
    subprocess.run([*check, tmp_path / f"sallyport-agent.{shell}"], check=True)
