"""The Containerfile names what the repository has, and the image runs without privilege unless it is given some."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
LINES = re.sub(r"\\\n\s*", "", (ROOT / "Containerfile").read_text()).splitlines()
STEPS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]


def said(instruction: str) -> list[str]:
    return [argument for name, argument in STEPS if name == instruction]


def test_everything_that_is_copied_is_in_the_repository() -> None:
    copied = [part for text in said("COPY") if "--from=" not in text for part in text.split()[:-1]]
    assert "gateway" in copied
    assert [part for part in copied if not (ROOT / part).exists()] == []


def test_what_the_wheel_is_built_from_is_copied() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = {part for text in said("COPY") for part in text.split()}
    targets = wheel["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        *targets["packages"],
        *targets["force-include"],
        wheel["project"]["readme"],
        *wheel["project"]["license-files"],
    }
    assert needed <= copied


def test_dependencies_are_the_locked_ones_with_their_hashes() -> None:
    installs = [text for text in said("RUN") if "pip install" in text]
    assert [("--require-hashes" in text, "--no-deps" in text) for text in installs] == [(True, False), (False, True)]


def test_both_stages_begin_with_the_same_python_of_a_version() -> None:
    build, final = (text.split(" AS ")[0] for text in said("FROM"))
    assert build == final == "docker.io/library/python:3.11-slim-bookworm"


def test_the_image_runs_the_gateway_as_the_user_of_the_pod() -> None:
    assert said("USER") == ["65532:65532"]
    assert said("ENTRYPOINT") == ['["sallyport"]']
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert "sallyport" in scripts


def test_the_programs_that_the_tunnel_calls_are_installed() -> None:
    final = said("RUN")[-1]
    assert "iproute2" in final
    assert "nftables" in final
