"""What no schema says: KubeRay's own checks, names that must resolve among the files, times and sizes that must add up.

Each function takes the documents of an overlay and returns what is wrong with them, a line each. KubeRay's checks
restate ray-operator/controllers/ray/utils/validation.go of its release 1.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.k8s.rendering import Doc

DNS_1035 = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
NAME_MAX = {"RayService": 47, "RayCluster": 53, "RayJob": 47, "RayCronJob": 36}
UPGRADES = ("None", "NewCluster", "NewClusterWithIncrementalUpgrade")
OPERATED = {"opensesame-serve-svc": {8000}, "opensesame-head-svc": {8265, 10001, 6379, 8000}}  # services KubeRay makes
DRAIN_S = 30  # of an ingress replica that is told to stop: RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S
_MARGIN_S = 10


def kuberay(docs: list[Doc]) -> list[str]:
    """What the operator would refuse."""
    wrong = []
    for doc in docs:
        if doc["apiVersion"].split("/")[0] != "ray.io":
            continue
        kind, name, spec = doc["kind"], doc["metadata"]["name"], doc["spec"]
        if len(name) > NAME_MAX[kind] or not DNS_1035.match(name):
            wrong.append(f"{kind} {name}: not a DNS-1035 label of at most {NAME_MAX[kind]} characters")
        if kind == "RayService":
            wrong += _service(spec)
            wrong += _cluster(spec["rayClusterConfig"], of_service=True)
        elif kind == "RayCronJob":
            if len(spec["schedule"].split()) != 5 and not spec["schedule"].startswith("@"):
                wrong.append(f"schedule {spec['schedule']!r} has not five fields")
            wrong += _job(spec["jobTemplate"])
    return wrong


def _service(spec: Doc) -> list[str]:
    wrong = []
    if spec["rayClusterConfig"]["headGroupSpec"].get("headService", {}).get("metadata", {}).get("name"):
        wrong.append("headService.metadata.name must not be set")
    strategy = spec.get("upgradeStrategy", {})
    if strategy.get("type", "NewCluster") not in UPGRADES:
        wrong.append(f"upgradeStrategy.type {strategy['type']} is none of {UPGRADES}")
    if spec.get("rayClusterDeletionDelaySeconds", 0) < 0:
        wrong.append("rayClusterDeletionDelaySeconds is negative")
    if strategy.get("type") == "NewClusterWithIncrementalUpgrade":
        options = strategy.get("clusterUpgradeOptions") or {}
        if not spec["rayClusterConfig"].get("enableInTreeAutoscaling"):
            wrong.append("an incremental upgrade needs the autoscaler")
        step, surge = options.get("stepSizePercent", -1), options.get("maxSurgePercent", 100)
        if not 0 <= step <= surge <= 100:
            wrong.append(f"stepSizePercent {step}, maxSurgePercent {surge}: not 0 <= step <= surge <= 100")
        if options.get("intervalSeconds", 0) <= 0:
            wrong.append("intervalSeconds must be above 0")
        if not options.get("gatewayClassName"):
            wrong.append("an incremental upgrade needs a gateway class")
    return wrong


def _cluster(spec: Doc, of_service: bool = False) -> list[str]:
    wrong = []
    head, workers = spec["headGroupSpec"], spec.get("workerGroupSpecs", [])
    scaled, auth = spec.get("enableInTreeAutoscaling", False), spec.get("authOptions", {})
    variables = {variable["name"] for variable in _ray_container(head).get("env", ())}
    for group in (head, *workers):
        name, start = group.get("groupName", "head"), group.get("rayStartParams", {})
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & set(start):
            wrong.append(f"group {name}: resources in rayStartParams and in the group")
        if "labels" in start:
            wrong.append(f"group {name}: labels in rayStartParams")
        v2 = scaled and spec.get("autoscalerOptions", {}).get("version") == "v2"
        if v2 and group["template"]["spec"].get("restartPolicy", "Never") != "Never":
            wrong.append(f"group {name}: autoscaler v2 wants restartPolicy Never or none")
        if scaled and group.get("suspend"):
            wrong.append(f"group {name}: suspended with the autoscaler on")
    if scaled and "version" in spec.get("autoscalerOptions", {}) and "RAY_enable_autoscaler_v2" in variables:
        wrong.append("autoscalerOptions.version and RAY_enable_autoscaler_v2 are both set")
    if spec.get("gcsFaultToleranceOptions"):
        if {"REDIS_PASSWORD", "RAY_REDIS_ADDRESS"} & variables:
            wrong.append("Redis is named in the head's environment beside gcsFaultToleranceOptions")
        if "redis-password" in head.get("rayStartParams", {}):
            wrong.append("redis-password in rayStartParams beside gcsFaultToleranceOptions")
    elif "RAY_REDIS_ADDRESS" in variables:
        wrong.append("RAY_REDIS_ADDRESS without gcsFaultToleranceOptions")
    if "REDIS_USERNAME" in variables or "redis-username" in head.get("rayStartParams", {}):
        wrong.append("the Redis user belongs into gcsFaultToleranceOptions")
    if auth.get("mode") == "token" and _version(spec.get("rayVersion", "0")) < (2, 52):
        wrong.append(f"token mode needs rayVersion 2.52, not {spec.get('rayVersion')}")
    if auth.get("enableK8sTokenAuth"):
        wrong.append("enableK8sTokenAuth is for a RayCluster alone")
    if of_service and "upgradeStrategy" in spec:
        wrong.append("rayClusterConfig.upgradeStrategy inside a RayService")
    return wrong


def _job(spec: Doc) -> list[str]:
    wrong = []
    if not spec.get("shutdownAfterJobFinishes") and spec.get("ttlSecondsAfterFinished", 0) > 0:
        wrong.append("ttlSecondsAfterFinished without shutdownAfterJobFinishes")
    if spec.get("activeDeadlineSeconds", 1) <= 0 or spec.get("backoffLimit", 0) < 0:
        wrong.append("activeDeadlineSeconds must be above 0, backoffLimit not negative")
    if ("rayClusterSpec" in spec) == bool(spec.get("clusterSelector")):
        wrong.append("one of rayClusterSpec and clusterSelector")
    if spec.get("clusterSelector") and spec.get("backoffLimit"):
        wrong.append("backoffLimit with clusterSelector")
    if "rayClusterSpec" in spec:
        wrong += _cluster(spec["rayClusterSpec"])
        head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        if spec.get("submissionMode") == "SidecarMode" and head.get("restartPolicy", "Never") != "Never":
            wrong.append("SidecarMode wants restartPolicy Never or none")
    return wrong


def names(docs: list[Doc], secrets: list[Doc], images: set[str]) -> list[str]:
    """What refers to something that is not there: images, Secrets, ConfigMaps, claims, accounts, ports, services."""
    wrong = []
    keys: dict[tuple[str, str], set[str]] = {}
    for doc in [*docs, *secrets]:
        data = {**doc.get("data", {}), **doc.get("stringData", {})}
        keys[doc["kind"], doc["metadata"]["name"]] = set(data)
    for doc in docs:
        where = f"{doc['kind']} {doc['metadata']['name']}"
        claimed = {template["metadata"]["name"] for template in doc["spec"].get("volumeClaimTemplates", ())} \
            if isinstance(doc.get("spec"), dict) else set()  # fmt: skip
        for reference in _all(doc, "secretKeyRef"):
            if reference["key"] not in keys.get(("Secret", reference["name"]), ()):
                wrong.append(f"{where}: no key {reference['key']} in a Secret {reference['name']}")
        for pod in pods(doc):
            account = pod.get("serviceAccountName")
            if account and ("ServiceAccount", account) not in keys:
                wrong.append(f"{where}: no ServiceAccount {account}")
            volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
            for volume in volumes.values():
                if "configMap" in volume and ("ConfigMap", volume["configMap"]["name"]) not in keys:
                    wrong.append(f"{where}: no ConfigMap {volume['configMap']['name']}")
                secret = volume.get("secret", {})
                for item in secret.get("items", ()):
                    if item["key"] not in keys.get(("Secret", secret["secretName"]), ()):
                        wrong.append(f"{where}: no key {item['key']} in a Secret {secret['secretName']}")
                claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                if claim and ("PersistentVolumeClaim", claim) not in keys:
                    wrong.append(f"{where}: no PersistentVolumeClaim {claim}")
            for container in pod["containers"]:
                wrong += [f"{where}: {problem}" for problem in _container(container, {*volumes, *claimed}, images)]
    wrong += _services(docs)
    wrong += _selectors(docs)
    return wrong


def _container(container: Doc, volumes: set[str], images: set[str]) -> Iterator[str]:
    if container["image"] not in images:
        yield f"image {container['image']} is none of {sorted(images)}"
    for mount in container.get("volumeMounts", ()):
        if mount["name"] not in volumes:
            yield f"no volume {mount['name']}"
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        for how in ("httpGet", "tcpSocket"):
            port = container.get(probe, {}).get(how, {}).get("port")
            if port is not None and port not in ports and port not in ports.values():
                yield f"{probe} asks port {port}, which {container['name']} has not"


def _services(docs: list[Doc]) -> Iterator[str]:
    known = dict(OPERATED)
    for doc in docs:
        if doc["kind"] == "Service":
            chosen = [p for p, labels in _labelled_pods(docs) if doc["spec"]["selector"].items() <= labels.items()]
            offered = {
                port["name"]: port["containerPort"] for p in chosen for c in p["containers"] for port in c["ports"]
            }
            known[doc["metadata"]["name"]] = {port["port"] for port in doc["spec"]["ports"]}
            for port in doc["spec"]["ports"]:
                if port["targetPort"] not in offered and port["targetPort"] not in offered.values():
                    yield f"Service {doc['metadata']['name']}: no pod of it has port {port['targetPort']}"
    for doc in docs:
        for backend in _all(doc, "service"):
            if backend["port"]["number"] not in known.get(backend["name"], ()):
                yield f"{doc['kind']} {doc['metadata']['name']}: no Service {backend['name']} with that port"
        for backend in (b for many in _all(doc, "backendRefs") for b in many):
            if backend["port"] not in known.get(backend["name"], ()):
                yield f"{doc['kind']} {doc['metadata']['name']}: no Service {backend['name']} with that port"
        for text in _strings(doc):
            for host, port in re.findall(r"(?:redis|http)://(?:[^@/\s]*@)?(opensesame-[a-z-]+):(\d+)", text):
                if int(port) not in known.get(host, ()):
                    yield f"{doc['kind']} {doc['metadata']['name']}: {host}:{port} is no Service of these"


def _selectors(docs: list[Doc]) -> Iterator[str]:
    """What watches pods must find some."""
    labels = [found for _, found in _labelled_pods(docs)]
    for doc in docs:
        if doc["kind"] in ("PodDisruptionBudget", "PodMonitor"):
            wanted = doc["spec"]["selector"]["matchLabels"]
            matching = [found for found in labels if wanted.items() <= found.items()]
            if not matching:
                yield f"{doc['kind']} {doc['metadata']['name']}: no pod has {wanted}"
        if doc["kind"] == "PodMonitor":
            pods_of = [
                p
                for p, found in _labelled_pods(docs)
                if doc["spec"]["selector"]["matchLabels"].items() <= found.items()
            ]
            names_of = [{port["name"] for c in pod["containers"] for port in c.get("ports", ())} for pod in pods_of]
            for endpoint in doc["spec"]["podMetricsEndpoints"]:
                if not all(endpoint["port"] in offered for offered in names_of):
                    yield f"PodMonitor {doc['metadata']['name']}: a pod has no port {endpoint['port']}"


def times(docs: list[Doc], request_s: float) -> list[str]:
    """Whether nothing is ended before its requests are; `request_s` is the longest."""
    wrong = []
    for doc in docs:
        if doc["kind"] != "RayService":
            continue
        if doc["spec"]["rayClusterDeletionDelaySeconds"] < request_s + DRAIN_S + _MARGIN_S:
            wrong.append("the old cluster is deleted before its last request may have ended")
        for group in doc["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
            pod = group["template"]["spec"]
            command = _ray_container(group)["lifecycle"]["preStop"]["exec"]["command"][-1]
            sleep_s, grace_s = map(int, re.fullmatch(r"sleep (\d+); ray stop --grace-period (\d+)", command).groups())
            if sleep_s < request_s:
                wrong.append(f"group {group['groupName']}: `ray stop` comes before the last request may have ended")
            if pod["terminationGracePeriodSeconds"] < sleep_s + grace_s + _MARGIN_S:
                wrong.append(f"group {group['groupName']}: killed before its preStop has ended")
    return wrong


def security(docs: list[Doc]) -> list[str]:
    """Pods as the Pod Security Standard `restricted` wants them, and with limits."""
    wrong = []
    for doc in docs:
        for pod in pods(doc):
            where, context = f"{doc['kind']} {doc['metadata']['name']}", pod.get("securityContext", {})
            if not context.get("runAsNonRoot") or context.get("seccompProfile") != {"type": "RuntimeDefault"}:
                wrong.append(f"{where}: not runAsNonRoot with the default seccomp profile")
            # The head's autoscaler needs its token.
            if (
                pod.get("serviceAccountName") != "opensesame-head"
                and pod.get("automountServiceAccountToken") is not False
            ):
                wrong.append(f"{where}: mounts an account's token")
            for container in pod["containers"]:
                inner = container.get("securityContext", {})
                if inner.get("allowPrivilegeEscalation") is not False or inner.get("capabilities") != {"drop": ["ALL"]}:
                    wrong.append(f"{where}: container {container['name']} may gain privileges")
                resources = container.get("resources", {})
                if not all({"cpu", "memory"} <= set(resources.get(what, ())) for what in ("requests", "limits")):
                    wrong.append(f"{where}: container {container['name']} without requests and limits")
    return wrong


def capacity(docs: list[Doc]) -> list[str]:
    """Whether all replicas that the Serve config allows fit on the workers that it allows, by Ray's count of CPUs."""
    service = next(doc for doc in docs if doc["kind"] == "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    wrong = []
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    for bound, count in (("min", "minReplicas"), ("max", "maxReplicas")):
        cpus = gpus = 0.0
        for deployment in config["applications"][0]["deployments"]:
            scaling = deployment.get("autoscaling_config", {})
            replicas = scaling.get(f"{bound}_replicas", deployment.get("num_replicas", 1))
            options = deployment["ray_actor_options"]
            cpus, gpus = cpus + replicas * options["num_cpus"], gpus + replicas * options["num_gpus"]
        limits = [(group[count], _ray_container(group)["resources"].get("limits", {})) for group in groups]
        have_cpus = sum(number * float(limit.get("cpu", 0)) for number, limit in limits)
        have_gpus = sum(number * float(limit.get("nvidia.com/gpu", 0)) for number, limit in limits)
        if cpus > have_cpus or gpus > have_gpus:
            wrong.append(f"{bound}: {cpus} CPUs and {gpus} GPUs wanted, {have_cpus} and {have_gpus} there")
    return wrong


def pods(doc: Doc) -> Iterator[Doc]:
    """The pod specs of a document."""
    for template in _all(doc, "template"):
        if isinstance(template, dict) and "containers" in template.get("spec", {}):
            yield template["spec"]


def _labelled_pods(docs: list[Doc]) -> Iterator[tuple[Doc, dict[str, str]]]:
    """Pod specs with their labels, those that KubeRay adds among them."""
    for doc in docs:
        if doc["kind"] == "RayService":
            spec = doc["spec"]["rayClusterConfig"]
            for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
                is_head = group is spec["headGroupSpec"]
                added = {
                    "ray.io/is-ray-node": "yes",
                    "ray.io/node-type": "head" if is_head else "worker",
                    "ray.io/group": "headgroup" if is_head else group["groupName"],
                    "ray.io/originated-from-cr-name": doc["metadata"]["name"],
                }
                template = group["template"]
                yield template["spec"], template.get("metadata", {}).get("labels", {}) | added
        else:
            for template in _all(doc, "template"):
                if isinstance(template, dict) and "containers" in template.get("spec", {}):
                    yield template["spec"], template.get("metadata", {}).get("labels", {})


def _ray_container(group: Doc) -> Doc:
    return group["template"]["spec"]["containers"][0]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def _all(value: Any, key: str) -> Iterator[Any]:
    """Every value of `key`, however deep."""
    if isinstance(value, list):
        for item in value:
            yield from _all(item, key)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from _all(inner, key)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
