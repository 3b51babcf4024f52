"""The Kubernetes manifests: valid by the published schemas, with no more privilege than they need, and true to the code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.access.tunnel import SOCKETS
from gateway.errors import SettingsError
from gateway.policy.load import load_policy
from gateway.settings import Settings
from gateway.tunnel.control import DIRECTORY
from gateway.tunnel.persistent import RECORDS
from gateway.tunnel.timestamps import DEFAULT_FOLDER

ROOT = Path(__file__).parents[3]
VALIDATE = [Path(sys.executable).with_name("kubernetes-validate"), "--strict", "/dev/stdin"]
KINDS = [
    "ConfigMap", "ConfigMap", "ConfigMap", "ConfigMap", "Deployment", "Namespace", "NetworkPolicy",
    "PersistentVolumeClaim", "Service", "Service", "ServiceAccount",
]  # fmt: skip


class Manifests:
    """What `kubectl kustomize` makes of a folder."""

    def __init__(self, folder: str) -> None:
        done = subprocess.run(["kubectl", "kustomize", ROOT / folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.text = done.stdout
        self.all: list[dict[str, Any]] = list(yaml.safe_load_all(self.text))
        (deployment,) = self.of("Deployment").values()
        self.deployment = deployment["spec"]
        self.pod = deployment["spec"]["template"]["spec"]
        self.containers = {container["name"]: container for container in self.pod["containers"]}
        (self.setup,) = self.pod["initContainers"]

    def of(self, kind: str) -> dict[str, Any]:
        return {made["metadata"]["name"]: made for made in self.all if made["kind"] == kind}

    def config(self, name: str) -> dict[str, str]:
        """The data of a ConfigMap, whatever hash its name ends with. Exactly one must exist."""
        (found,) = (made["data"] for full, made in self.of("ConfigMap").items() if full.rpartition("-")[0] == name)
        return dict(found)

    def environment(self, container: str) -> dict[str, str]:
        """What the container's process would see of SALLYPORT_*; a secret as a placeholder."""
        told: dict[str, str] = {}
        for source in self.containers[container]["envFrom"]:
            told |= self.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
        for variable in self.containers[container].get("env", ()):
            assert set(variable["valueFrom"]) == {"secretKeyRef"}
            told[variable["name"]] = "from-a-secret"
        return told

    def mounts(self, container: str) -> dict[str, dict[str, Any]]:
        return {mount["name"]: mount for mount in self.containers[container]["volumeMounts"]}

    def volumes(self) -> dict[str, dict[str, Any]]:
        return {volume["name"]: volume for volume in self.pod["volumes"]}


@pytest.fixture(scope="module", params=["k8s/base", "k8s/overlays/example"])
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return Manifests(request.param)


@pytest.fixture(scope="module")
def base() -> Manifests:
    return Manifests("k8s/base")


def validated(text: str) -> tuple[int, str]:
    done = subprocess.run(VALIDATE, input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


# --- valid ---


def test_every_resource_is_valid_by_the_strict_schemas_of_kubernetes(manifests: Manifests) -> None:
    status, said = validated(manifests.text)
    assert status == 0, said
    assert said.count("passed for resource") == len(manifests.all) == len(KINDS)
    assert sorted(made["kind"] for made in manifests.all) == KINDS


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("allowPrivilegeEscalation:", "allowPrivilegeEscalations:"), ("containerPort: 8443", "containerPort: https")],
)
def test_the_validator_sees_a_misspelt_key_and_a_wrong_type(base: Manifests, right: str, wrong: str) -> None:
    assert right in base.text
    assert validated(base.text.replace(right, wrong))[0] != 0


def test_everything_is_in_one_namespace(manifests: Manifests) -> None:
    elsewhere = [m for m in manifests.all if m["metadata"].get("namespace") != "sallyport" and m["kind"] != "Namespace"]
    assert elsewhere == []
    assert list(manifests.of("Namespace")) == ["sallyport"]


# --- privilege ---


def test_one_pod_holds_the_two_programs_of_one_image(manifests: Manifests) -> None:
    assert list(manifests.containers) == ["serve", "tunnel"]
    assert len({container["image"] for container in (manifests.setup, *manifests.containers.values())}) == 1
    assert (manifests.deployment["replicas"], manifests.deployment["strategy"]) == (1, {"type": "Recreate"})


def test_one_capability_exists_until_the_tun_is_made_and_none_afterwards(manifests: Manifests) -> None:
    assert manifests.setup["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    capabilities = {name: c["securityContext"]["capabilities"] for name, c in manifests.containers.items()}
    assert capabilities == {"serve": {"drop": ["ALL"]}, "tunnel": {"drop": ["ALL"]}}
    for container in (manifests.setup, *manifests.containers.values()):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert "privileged" not in container["securityContext"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(manifests.pod)
    assert manifests.pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_pod_is_not_root_but_for_its_setup(manifests: Manifests) -> None:
    common = manifests.pod["securityContext"]
    assert (common["runAsNonRoot"], common["runAsUser"], common["runAsGroup"]) == (True, 65532, 65532)
    own = {name: c["securityContext"].get("runAsUser") for name, c in manifests.containers.items()}
    assert own == {"serve": None, "tunnel": None}
    assert manifests.setup["securityContext"]["runAsUser"] == 0


def test_nothing_in_the_pod_can_talk_to_the_api_server(manifests: Manifests) -> None:
    assert manifests.pod["automountServiceAccountToken"] is False
    assert manifests.of("ServiceAccount")["sallyport"]["automountServiceAccountToken"] is False


def test_the_tunnel_sees_no_secret_no_policy_and_of_the_state_its_own_folder_and_serve_no_tun(
    manifests: Manifests,
) -> None:
    assert set(manifests.mounts("tunnel")) == {"control", "tun", "state"}
    assert manifests.mounts("tunnel")["state"]["subPath"] == "tunnel"
    assert manifests.mounts("tunnel")["state"]["mountPath"] == str(DEFAULT_FOLDER)
    assert {mount["name"] for mount in manifests.setup["volumeMounts"]} == {"control", "tun", "masquerade", "record"}
    assert manifests.setup["envFrom"] == manifests.containers["tunnel"]["envFrom"]
    assert "env" not in manifests.setup
    assert set(manifests.mounts("serve")) == {"control", "state", "policy", "tls", "temporary"}
    assert "env" not in manifests.containers["tunnel"]
    assert {name for name in manifests.environment("tunnel") if not name.startswith("SALLYPORT_TUNNEL_")} == set()


def test_of_the_node_only_the_tun_device_is_mounted(manifests: Manifests) -> None:
    from_node = {name: volume["hostPath"] for name, volume in manifests.volumes().items() if "hostPath" in volume}
    assert from_node == {"tun": {"path": "/dev/net/tun", "type": "CharDevice"}}
    assert manifests.mounts("tunnel")["tun"]["mountPath"] == "/dev/net/tun"


def test_what_is_written_is_state_a_socket_and_nothing_else(manifests: Manifests) -> None:
    writable = {
        (name, mount)
        for name in manifests.containers
        for mount, how in manifests.mounts(name).items()
        if not how.get("readOnly")
    }
    assert writable == {
        ("serve", "state"),
        ("serve", "temporary"),
        ("tunnel", "control"),
        ("tunnel", "tun"),
        ("tunnel", "state"),
    }


# --- true to the code ---


def test_the_two_programs_meet_at_the_socket_in_the_folder_that_the_code_names(manifests: Manifests) -> None:
    places = {manifests.mounts(name)["control"]["mountPath"] for name in manifests.containers}
    assert places == {str(DIRECTORY)} == {str(SOCKETS)}
    assert "emptyDir" in manifests.volumes()["control"]
    assert manifests.pod["securityContext"]["fsGroup"] == 65532


def test_key_files_keep_the_mode_that_the_gateway_insists_on(manifests: Manifests) -> None:
    assert manifests.pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    volume = Path(manifests.mounts("serve")["state"]["mountPath"])
    state = Path(manifests.environment("serve")["SALLYPORT_STATE_DIR"])
    assert (
        volume in state.parents
    )  # made by the gateway with 0700; the volume's own folder belongs to root and the group


def settings(manifests: Manifests, container: str, folder: Path) -> Settings:
    """Read the container's settings, with the files that its volumes would hold put into `folder`."""
    (folder / "etc/sallyport/policy").mkdir(parents=True)
    (folder / "etc/sallyport/tls").mkdir()
    for name in ("tls.crt", "tls.key"):
        (folder / "etc/sallyport/tls" / name).touch()
    told = manifests.environment(container)
    return Settings.from_environment(
        {name: value.replace("/etc/sallyport", f"{folder}/etc/sallyport") for name, value in told.items()}
    )


@pytest.mark.parametrize("container", ["serve", "tunnel"])
def test_every_setting_is_one_that_the_gateway_knows_with_a_value_that_it_takes(
    manifests: Manifests, container: str, tmp_path: Path
) -> None:
    read = settings(manifests, container, tmp_path)
    told = manifests.config("sallyport-tunnel")
    assert read.tunnel_interface == told["SALLYPORT_TUNNEL_INTERFACE"]
    assert str(read.tunnel_mtu) == told["SALLYPORT_TUNNEL_MTU"]
    if container == "serve":
        assert read.public_url == manifests.config("sallyport-serve")["SALLYPORT_PUBLIC_URL"]
        assert None not in (read.oidc_issuer, read.oidc_client_secret, read.policy_dir, read.tls_certificate)


def test_the_files_that_settings_name_are_in_volumes_that_are_mounted(manifests: Manifests) -> None:
    told = manifests.environment("serve")
    mounts = {name: mount["mountPath"] for name, mount in manifests.mounts("serve").items()}
    assert told["SALLYPORT_POLICY_DIR"] == mounts["policy"]
    assert told["SALLYPORT_TLS_CERTIFICATE"] == f"{mounts['tls']}/tls.crt"
    assert told["SALLYPORT_TLS_KEY"] == f"{mounts['tls']}/tls.key"
    assert manifests.volumes()["tls"]["secret"]["secretName"] == "sallyport-tls"


def test_service_links_are_off_because_their_variables_look_like_settings(base: Manifests, tmp_path: Path) -> None:
    assert base.pod["enableServiceLinks"] is False
    links = {f"{name}_SERVICE_HOST".replace("-", "_").upper(): "10.0.0.1" for name in base.of("Service")}
    assert sorted(links) == ["SALLYPORT_SERVICE_HOST", "SALLYPORT_TUNNEL_SERVICE_HOST"]
    with pytest.raises(SettingsError, match="SALLYPORT_SERVICE_HOST is not a setting"):
        Settings.from_environment(links)


def test_ports_are_the_same_in_settings_containers_services_and_the_network_policy(
    manifests: Manifests, tmp_path: Path
) -> None:
    read = settings(manifests, "serve", tmp_path)
    ports = {port["name"]: port for container in manifests.containers.values() for port in container["ports"]}
    assert (ports["https"]["containerPort"], ports["https"]["protocol"]) == (read.listen[1], "TCP")
    assert (ports["wireguard"]["containerPort"], ports["wireguard"]["protocol"]) == (read.tunnel_endpoint[1], "UDP")
    exposed = {
        (port["targetPort"], port["port"], port["protocol"])
        for service in manifests.of("Service").values()
        for port in service["spec"]["ports"]
    }
    assert exposed == {("https", 443, "TCP"), ("wireguard", read.tunnel_endpoint[1], "UDP")}
    (rule,) = manifests.of("NetworkPolicy")["sallyport"]["spec"]["ingress"]
    assert {(port["port"], port["protocol"]) for port in rule["ports"]} == {
        (read.listen[1], "TCP"),
        (read.tunnel_endpoint[1], "UDP"),
    }


def test_services_and_the_network_policy_select_the_pod(manifests: Manifests) -> None:
    labels = manifests.deployment["template"]["metadata"]["labels"]
    assert manifests.deployment["selector"]["matchLabels"] == labels
    assert all(service["spec"]["selector"] == labels for service in manifests.of("Service").values())
    assert manifests.of("NetworkPolicy")["sallyport"]["spec"]["podSelector"]["matchLabels"] == labels


def test_packets_of_live_sessions_arrive_while_serve_is_not_ready_and_new_logins_do_not(manifests: Manifests) -> None:
    ready = {
        name: service["spec"].get("publishNotReadyAddresses", False)
        for name, service in manifests.of("Service").items()
    }
    assert ready == {"sallyport": False, "sallyport-tunnel": True}


def test_serve_is_probed_over_https_on_its_health_paths(manifests: Manifests) -> None:
    probes = {name: probe["httpGet"] for name, probe in manifests.containers["serve"].items() if name.endswith("Probe")}
    assert {name: get["path"] for name, get in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {(get["port"], get["scheme"]) for get in probes.values()} == {("https", "HTTPS")}


def test_the_commands_are_those_of_the_gateway(manifests: Manifests) -> None:
    assert manifests.containers["serve"]["command"] == ["sallyport", "serve"]
    assert manifests.containers["tunnel"]["command"] == ["sallyport", "tunnel"]
    shell, flags, script = manifests.setup["command"]
    mounts = {mount["name"]: mount["mountPath"] for mount in manifests.setup["volumeMounts"]}
    assert (shell, flags) == ("sh", "-ec")
    user = manifests.pod["securityContext"]["runAsUser"]
    assert script == f"nft -f {mounts['masquerade']}/masquerade.nft; exec sallyport setup-host --user {user}"
    assert mounts["record"] == str(RECORDS)


def test_what_is_masqueraded_is_the_pool_as_it_leaves_the_tunnel(manifests: Manifests) -> None:
    told = manifests.config("sallyport-tunnel")
    rule = f'ip saddr {told["SALLYPORT_TUNNEL_ADDRESSES"]} oifname != "{told["SALLYPORT_TUNNEL_INTERFACE"]}" masquerade'
    assert rule in manifests.config("sallyport-masquerade")["masquerade.nft"]


def as_a_kubelet_writes_it(data: Mapping[str, str], folder: Path) -> Path:
    """A ConfigMap volume: files are links into a folder that is itself behind a link, so that all change at once."""
    real = folder / "..2026_01_01_00_00_00.123456789"
    real.mkdir(parents=True)
    (folder / "..data").symlink_to(real.name)
    for name, text in data.items():
        (real / name).write_text(text)
        (folder / name).symlink_to(Path("..data") / name)
    return folder


def test_the_policy_in_the_volume_is_the_starter_policy(base: Manifests, tmp_path: Path) -> None:
    mounted = load_policy(as_a_kubelet_writes_it(base.config("sallyport-policy"), tmp_path / "policy"))
    assert mounted.version == load_policy(ROOT / "policies/starter").version


def test_an_overlay_replaces_names_image_and_policy_and_keeps_the_rest(tmp_path: Path) -> None:
    base, example = Manifests("k8s/base"), Manifests("k8s/overlays/example")
    assert {c["image"] for c in example.containers.values()} == {"registry.example.org/security/sallyport:0.1.0"}
    assert set(example.environment("serve")) == set(base.environment("serve"))
    assert example.environment("serve")["SALLYPORT_OIDC_ISSUER"] == "https://idp.example.org/realms/staff"
    own = as_a_kubelet_writes_it(example.config("sallyport-policy"), tmp_path / "policy")
    assert load_policy(own).name == "example"


def test_no_secret_is_in_the_manifests_and_the_readme_says_how_to_make_those_that_they_name(
    manifests: Manifests,
) -> None:
    assert manifests.of("Secret") == {}
    readme = (ROOT / "k8s/README.md").read_text()
    (variable,) = manifests.containers["serve"]["env"]
    wanted = variable["valueFrom"]["secretKeyRef"]
    assert f"create secret generic {wanted['name']} --from-file={wanted['key']}=" in readme
    assert f"create secret tls {manifests.volumes()['tls']['secret']['secretName']} " in readme
