"""The examples for containers agree with the Dockerfile, the default configuration and the server."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from harness.meerkat import Meerkat

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "config" / "examples"
DEFAULT = ROOT / "config" / "meerkat.toml"
CONFIG = "/etc/meerkat/meerkat.toml"
RINGS = {"io_uring_setup", "io_uring_enter", "io_uring_register"}
# What Docker's documentation names first among what its default profile refuses.
REFUSED = {"bpf", "delete_module", "init_module", "kexec_load", "keyctl", "mount", "perf_event_open"}
REFUSED |= {"pivot_root", "reboot", "setns", "swapon", "umount2", "unshare", "userfaultfd", "clone"}


@pytest.fixture(scope="module")
def image():
    """The last stage of the Dockerfile: instruction -> the words of its arguments, of all of them."""
    parser = DockerfileParser(fileobj=(ROOT / "Dockerfile").open("rb"))
    stages = [at for at, step in enumerate(parser.structure) if step["instruction"] == "FROM"]
    last = {}
    for step in parser.structure[stages[-1] :]:
        last.setdefault(step["instruction"], []).extend(step["value"].split())
    return last


@pytest.fixture(scope="module")
def default():
    return tomllib.loads(DEFAULT.read_text())


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["services"]["meerkat"]


@pytest.fixture(scope="module")
def manifests():
    documents = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def pod(manifests):
    return manifests["StatefulSet"]["spec"]["template"]["spec"]


def public_ports(config):
    """Those that are reached from elsewhere."""
    listeners = [listener for kind in config["listen"].values() for listener in kind]
    return {listener["port"] for listener in listeners if listener.get("ip_address") != "127.0.0.1"}


def drain_seconds():
    """[runtime] drain_ms, as the manual writes its default."""
    written = re.search(r"^ *#drain_ms = ([0-9_]+)$", DEFAULT.read_text(), re.MULTILINE).group(1)
    return int(written) / 1000


def test_every_public_port_is_exposed_and_published(image, default, compose, manifests, pod):
    ports = public_ports(default)
    assert ports == {int(port) for port in image["EXPOSE"]}
    assert ports == {int(published.split(":")[1]) for published in compose["ports"]}
    named = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert ports == set(named.values())
    served = {port["port"]: named[port["targetPort"]] for port in manifests["Service"]["spec"]["ports"]}
    assert served == {port: port for port in ports}


def test_the_user_is_the_images(image, pod):
    user, group = (int(number) for number in image["USER"][0].split(":"))
    security = pod["securityContext"]
    assert security["runAsNonRoot"] and (security["runAsUser"], security["runAsGroup"]) == (user, group)
    assert security["fsGroup"] == group
    assert f":{user}:{group}:" in (ROOT / "Dockerfile").read_text()


def test_data_and_configuration_are_where_the_image_has_them(image, compose, pod):
    (data,) = image["VOLUME"]
    mounted = [volume.split(":") for volume in compose["volumes"]]
    assert ["data", data] in mounted
    assert (EXAMPLES / next(path for path, at, *_ in mounted if at == CONFIG)).resolve() == DEFAULT
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["data"] == data and f"{mounts['config']}/meerkat.toml" == CONFIG
    assert image["CMD"][-3:] == ['["serve",', '"-c",', f'"{CONFIG}"]']


def test_probes_ask_as_the_health_check_does(image, pod):
    check = " ".join(image["HEALTHCHECK"])
    asked = json.loads(check[check.index("[") :])
    probes = [pod["containers"][0][kind]["exec"]["command"] for kind in probe_kinds()]
    assert probes == [asked] * 3


def probe_kinds():
    return "startupProbe", "readinessProbe", "livenessProbe"


def test_a_stop_may_take_as_long_as_the_drain(compose, pod):
    assert int(compose["stop_grace_period"].removesuffix("s")) > drain_seconds()
    assert pod["terminationGracePeriodSeconds"] > drain_seconds()


def test_rings_are_allowed_and_nothing_else_is(compose, pod):
    assert "seccomp=seccomp.json" in compose["security_opt"] and compose["ulimits"]["memlock"]["soft"] == -1
    assert pod["securityContext"]["seccompProfile"] == {"type": "Localhost", "localhostProfile": "meerkat.json"}
    container = pod["containers"][0]["securityContext"]
    assert container["capabilities"] == {"drop": ["ALL"]} == {"drop": compose["cap_drop"]}
    profile = json.loads((EXAMPLES / "seccomp.json").read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    rules = profile["syscalls"]
    always = [rule["names"] for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule]
    names = [name for listed in always for name in listed]
    assert len(names) == len(set(names))
    assert RINGS <= set(names) and not REFUSED & set(names)


def test_its_configuration_is_one_that_the_server_takes(folder, manifests):
    server = Meerkat(folder)
    text = manifests["ConfigMap"]["data"]["meerkat.toml"]
    server.config_file.write_text(text)
    assert "no effect" not in server.must_run("check")
    assert public_ports(tomllib.loads(text)) == public_ports(tomllib.loads(DEFAULT.read_text()))
