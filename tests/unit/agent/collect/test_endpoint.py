"""Antivirus products other than ClamAV: by the file that runs and the package that brought it, never by a name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agent.collect.linux.endpoint import PRODUCTS, Product, is_genuine, owner, parse_mdatp, running
from agent.collect.reading import Unreadable

HEALTH = {
    "healthy": True,
    "realTimeProtectionEnabled": {"$type": "managed", "value": True},
    "engineVersion": "1.1.24090.11",
    "definitionsVersion": "1.421.226.0",
    "definitionsUpdated": "1731999637000",
}


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_each_product_is_found_by_the_file_that_it_runs(product: Product) -> None:
    for path in product.executables:
        assert running(["/usr/bin/bash", path], lambda *_: True) == product
        assert running(["/usr/bin/bash", path], lambda *_: False) is None
        assert running([f"/home/mallory{path}"], lambda *_: True) is None


def test_a_file_that_no_package_brought_or_that_others_may_write_is_not_genuine(tmp_path: Path) -> None:
    assert is_genuine(Product("bash", ("/usr/bin/dpkg",), ("dpkg",)), "/usr/bin/dpkg")
    assert not is_genuine(Product("bash", ("/usr/bin/dpkg",), ("falcon-sensor",)), "/usr/bin/dpkg")
    imitation = tmp_path / "falcon-sensor"
    imitation.write_text("")
    assert not is_genuine(Product("x", (str(imitation),), ("falcon-sensor",)), str(imitation))
    os.chmod(imitation, 0o777)
    assert not is_genuine(Product("x", (str(imitation),), ("falcon-sensor",)), str(imitation))
    assert not is_genuine(PRODUCTS[0], "/nowhere")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mdatp: /opt/microsoft/mdatp/sbin/wdavdaemon\n", "mdatp"),
        ("libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6\n", "libc6"),
        ("falcon-sensor: rpm\n", "falcon-sensor"),
        ("dpkg-query: no path found matching pattern", "dpkg-query"),
        ("", None),
        ("\0", None),
        ("file /opt/x is not owned by any package", None),
    ],
)
def test_the_owner_of_a_file_stands_first(text: str, name: str | None) -> None:
    assert owner(text) == name


def test_defender_tells_its_health() -> None:
    assert parse_mdatp(json.dumps(HEALTH)) == {
        "running": True,
        "realtime": True,
        "engine_version": "1.1.24090.11",
        "signatures_version": "1.421.226.0",
        "signatures_at": 1731999637.0,
    }
    off = {**HEALTH, "realTimeProtectionEnabled": {"value": False}, "definitionsUpdated": "Nov 19, 2024"}
    assert parse_mdatp(json.dumps(off))["realtime"] is False
    assert parse_mdatp(json.dumps(off))["signatures_at"] is None


@pytest.mark.parametrize(
    "text",
    ["", "\0", "{}", "[]", "ATTENTION: No license found.", json.dumps({**HEALTH, "healthy": "yes"}), "[" * 100_000],
)
def test_another_answer_of_defender_is_none(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_mdatp(text)
