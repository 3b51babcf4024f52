"""Installing the agent pulls in no server: neither by what it requires nor by what it imports."""

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

from agent.wire import AGENT_VERSION

ROOT = Path(__file__).parents[3]
SERVER = {
    "alembic",
    "authlib",
    "httptools",
    "httpx2",
    "joserfc",
    "prometheus-client",
    "pydantic",
    "pyjwt",
    "python-pytun",
    "pyyaml",
    "rich",
    "sqlalchemy",
    "sqlmodel",
    "starlette",
    "structlog",
    "uvicorn",
}
MODULES = (SERVER - {"python-pytun", "prometheus-client", "pyyaml", "pyjwt"}) | {
    "pytun",
    "prometheus_client",
    "yaml",
    "jwt",
    "gateway",
}


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


def test_the_wheel_requires_one_package_unless_an_extra_is_asked_for(wheel: Path) -> None:
    assert base_requirements(wheel_metadata(wheel)) == {"cryptography"}


def test_nothing_that_the_agent_needs_needs_a_server_package(wheel: Path) -> None:
    needed = closure(base_requirements(wheel_metadata(wheel)))
    assert needed > {"cryptography"}
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
    assert loaded >= {"agent", "cryptography"}
    assert not loaded & MODULES
