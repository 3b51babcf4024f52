"""Installing the agent pulls in no server: neither what it requires, nor what it imports, nor what it needs to run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

import pytest

from agent.collect import _MODULES
from agent.wire import AGENT_VERSION

ROOT = Path(__file__).parents[3]
SERVER = {
    "alembic",
    "authlib",
    "httptools",
    "joserfc",
    "prometheus-client",
    "pydantic",
    "python-pytun",
    "pyyaml",
    "rich",
    "sqlalchemy",
    "sqlmodel",
    "starlette",
    "structlog",
    "uvicorn",
}
MODULES = (SERVER - {"python-pytun", "prometheus-client", "pyyaml"}) | {"pytun", "prometheus_client", "yaml", "gateway"}


def normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def base_requirements(lines: list[str]) -> set[str]:
    """Names of the requirements without those of an extra."""
    plain = (line for line in lines if "extra ==" not in line)
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in plain}  # type: ignore[index]


def closure(names: set[str]) -> set[str]:
    """Everything that these need, as far as it is installed here: what is for another system is not."""
    found: set[str] = set()
    while names:
        name = names.pop()
        found.add(name)
        try:
            required = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            continue
        names |= base_requirements(required) - found
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it would be published."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def wheel_metadata(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as opened:
        name = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(opened.read(name).decode()).get_all("Requires-Dist", [])


def test_the_wheel_requires_three_packages_unless_an_extra_is_asked_for(wheel: Path) -> None:
    assert base_requirements(wheel_metadata(wheel)) == {"cryptography", "httpx2", "pyjwt"}


def test_nothing_that_the_agent_needs_needs_a_server_package(wheel: Path) -> None:
    needed = closure(base_requirements(wheel_metadata(wheel)))
    assert needed > {"cryptography", "httpx2", "pyjwt"}
    assert not needed & SERVER
    assert SERVER & closure(base_requirements([line.split(";")[0] for line in wheel_metadata(wheel)]))


def test_everything_that_the_agent_needs_is_locked(wheel: Path) -> None:
    locked = {
        normal(line.split("==")[0]) for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line
    }
    installed = {normal(found.name) for found in metadata.distributions()}
    assert (closure(base_requirements(wheel_metadata(wheel))) & installed) <= locked


def test_the_version_that_the_agent_says_is_that_of_the_package(wheel: Path) -> None:
    assert wheel.name.startswith(f"sallyport-{AGENT_VERSION}-")


def test_the_agents_command_loads_no_module_of_the_gateway_or_of_a_server_package() -> None:
    code = (
        "import agent.__main__, sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = set(json.loads(said))
    assert loaded >= {"agent", "httpx2", "jwt", "cryptography"}
    assert not loaded & MODULES


def test_the_agent_alone_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment with the wheel and the locked packages that it needs: versions and hashes as locked."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    (tmp_path / "agent.lock").write_text(locked_for(closure(base_requirements(wheel_metadata(wheel)))))
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(tmp_path / "agent.lock")], check=True, timeout=240)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    subprocess.run([str(python), "-m", "pip", "check"], check=True, capture_output=True)

    command = str(python.with_name("sallyport-agent"))
    said = subprocess.run([command, "--version"], cwd="/", capture_output=True, text=True, check=True).stdout
    assert said == f"sallyport-agent {AGENT_VERSION}\n"
    facts = json.loads(
        subprocess.run([command, "report", "--print"], cwd="/", capture_output=True, text=True, check=True).stdout
    )
    assert set(facts) == {name for module in _MODULES.values() for name in module.FACTS} | {"agent.version"}
    assert facts["agent.version"]["value"] == AGENT_VERSION
    assert facts["os.family"]["value"] == "linux"


def locked_for(names: set[str]) -> str:
    """The part of requirements.lock for these packages."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text())
    return "".join(block for block in blocks if normal(re.split(r"[=\[ ]", block)[0]) in names)
