"""What the README says about names is true: settings, commands, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.__main__ import COMMANDS
from gateway.errors import SettingsError
from gateway.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ROWS = re.findall(r"^\| (`SALLYPORT_.*?) \| (.*?) \|", README, re.MULTILINE)
NAMED = {name for names, _ in ROWS for name in re.findall(r"SALLYPORT_[A-Z_]+", names)}


def known() -> set[str]:
    """The settings that exist, as the error about an unknown one names them."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"SALLYPORT_NOT_ONE": "x"})
    return set(re.findall(r"SALLYPORT_[A-Z_]+", str(refused.value))) - {"SALLYPORT_NOT_ONE"}


def test_the_table_names_every_setting_and_no_other() -> None:
    agents = {name for name in NAMED if name.startswith("SALLYPORT_AGENT_")}
    assert NAMED - agents == known()
    source = (ROOT / "agent/__main__.py").read_text()
    assert agents == set(re.findall(r"SALLYPORT_AGENT_[A-Z_]+", source))


def test_the_defaults_in_the_table_are_the_defaults() -> None:
    defaults = Settings.from_environment({})
    shown = {names.strip("`"): value.strip("`") for names, value in ROWS}
    assert shown["SALLYPORT_PUBLIC_URL"] == defaults.public_url
    assert shown["SALLYPORT_LISTEN"] == "{}:{}".format(*defaults.listen)
    assert shown["SALLYPORT_STATE_DIR"] == str(defaults.state_dir)
    assert shown["SALLYPORT_OIDC_CLIENT_ID"] == defaults.oidc_client_id
    assert shown["SALLYPORT_OIDC_GROUPS_CLAIM"] == defaults.oidc_groups_claim
    assert shown["SALLYPORT_ADMIN_GROUP"] == defaults.admin_group
    assert shown["SALLYPORT_TUNNEL_INTERFACE"] == defaults.tunnel_interface
    assert shown["SALLYPORT_TUNNEL_ENDPOINT"] == "{}:{}".format(*defaults.tunnel_endpoint)
    assert shown["SALLYPORT_TUNNEL_ADDRESSES"] == ",".join(str(network) for network in defaults.tunnel_addresses)
    assert shown["SALLYPORT_TUNNEL_MTU"] == str(defaults.tunnel_mtu)
    assert shown["SALLYPORT_DEVELOPMENT_PROVIDER"] == "{}:{}".format(*defaults.development_provider)
    assert (
        defaults.transforms
        is defaults.oidc_issuer
        is defaults.policy_dir
        is defaults.oidc_client_secret
        is defaults.tls_key
        is None
    )


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?<!/)sallyport ([a-z][a-z-]*)[ `\n]", README))))
def test_every_command_that_is_named_exists(command: str) -> None:
    assert command in COMMANDS


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`?((?:docs|policies|gateway|k8s)/[\w./-]*)", README))))
def test_every_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path.rstrip(".")).exists()
