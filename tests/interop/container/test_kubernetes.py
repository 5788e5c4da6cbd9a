"""The pod of the example for Kubernetes, carried out by `podman play kube` in a network namespace.

There is no StatefulSet there: its template is the pod, and its claim the volume. What is asked of a node
is handed in: the seccomp profile, by the annotation that podman knows, and the limits.
"""

import json

import pytest
import yaml

from harness.containers import BASE_SECONDS, BUILD_SECONDS, ROOT, own_limits, until

EXAMPLES = ROOT / "config" / "examples"
NAME = "meerkat-0"
PROFILE = "meerkat.json"

pytestmark = pytest.mark.timeout(BASE_SECONDS + BUILD_SECONDS)


def written(folder):
    """The example as podman understands it, and the command of its probes."""
    documents = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    kinds = {document["kind"]: document for document in documents}
    template = kinds["StatefulSet"]["spec"]["template"]
    (claim,) = kinds["StatefulSet"]["spec"]["volumeClaimTemplates"]
    asked = template["spec"]["securityContext"]["seccompProfile"]
    assert asked == {"type": "Localhost", "localhostProfile": PROFILE}
    annotation = {"seccomp.security.alpha.kubernetes.io/pod": f"localhost/{PROFILE}"}
    name = claim["metadata"]["name"]
    template["spec"]["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
    about = template["metadata"] | {"name": NAME, "annotations": annotation}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"} | claim
    path = folder / "pod.yaml"
    path.write_text(yaml.safe_dump_all([kinds["ConfigMap"], claim, pod]))
    return path, template["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]


def test_the_pod_serves_and_stops(engine, image, network, folder):
    (folder / PROFILE).write_text((EXAMPLES / "seccomp.json").read_text())
    limits = [f"{name}={soft}:{hard}" for name, (soft, hard) in own_limits().items()]
    limits_file = folder / "containers.conf"
    limits_file.write_text(f"[containers]\ndefault_ulimits = {json.dumps(limits)}\n")
    pod, probe = written(folder)
    podman = ["env", f"CONTAINERS_CONF={limits_file}", *engine.podman_command()]
    container = f"{NAME}-meerkat"
    try:
        network.run(*podman, "play", "kube", "--seccomp-profile-root", folder, pod)
        about = json.loads(engine.podman("inspect", container).stdout)[0]
        until(
            lambda: engine.podman("exec", container, *probe, check=False).returncode == 0,
            lambda: engine.podman("logs", container).stderr,
        )
        assert "<starttls" in network.reads("127.0.0.1").stdout
        host = about["HostConfig"]
        assert about["Config"]["User"] == "10001:10001" and host["ReadonlyRootfs"] and not host["CapAdd"]
        assert host["CapDrop"] and "no-new-privileges" in host["SecurityOpt"]
        network.run(*podman, "pod", "stop", "--time", "20", NAME)
        assert json.loads(engine.podman("inspect", container).stdout)[0]["State"]["ExitCode"] == 0
    finally:
        network.run(*podman, "pod", "rm", "--force", NAME, check=False)
        engine.podman("volume", "rm", "data", check=False)
