"""The image at work: built and started by an engine of containers as docs/operations.md and compose.yaml have it.

    python -m loadtest.image

Builds the target `cpu` of docker/Dockerfile; starts it with the rights, memory and limits of compose's `app`, on
embedded parts; waits until the engine calls it healthy; looks who it runs as; makes a key, asks, tells and trains with
it; stops it, starts it again on the same volume and finds the key and the ranker. Then the whole of compose.yaml: asks,
tells, trains, finds the ranker in its MLflow and the service in its Prometheus. Everything but the image is removed.
`--without grafana` leaves a service of compose out, as often as it is given.
"""

from __future__ import annotations

import random
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
import yaml

from loadtest.deployment import Client, proved, until

_ROOT = Path(__file__).resolve().parent.parent
_COMPOSE = _ROOT / "docker" / "compose.yaml"
_SCOPES = "--tenant local --scope predict --scope feedback --scope catalogs --scope operator"
_OPTIONS = "--config /etc/opensesame/settings.yaml --var /var/lib/opensesame"
_BUILD_S, _STARTED_S, _TRAINED_S = 3600.0, 300.0, 900.0
_TAUGHT = 40  # with a forced training: enough for its heads


def docker(*words: str, limit_s: float = 120.0) -> str:
    """What a command of Docker's prints on stdout, run in the repository's root.

    Raises:
        RuntimeError: it failed; the message has the end of what it said.
    """
    done = subprocess.run(["docker", *words], cwd=_ROOT, capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode:
        said = (done.stderr + done.stdout)[-2000:]
        raise RuntimeError(f"docker {shlex.join(words)}: status {done.returncode}\n{said}")
    return done.stdout.strip()


def limits(app: dict[str, Any]) -> list[str]:
    """The options of `run` that are what compose says of the service's rights, memory and first process."""
    words = [f"--cap-drop={name}" for name in app["cap_drop"]]
    words += [f"--security-opt={name.removesuffix(':true')}" for name in app["security_opt"]]
    words += [f"--memory={app['mem_limit']}", f"--shm-size={app['shm_size']}"]
    return [*words, *(["--init"] if app["init"] else [])]


class Container:
    """One container of the image on a volume of its own; `started` again, it is another one on the same volume."""

    def __init__(self, app: dict[str, Any]) -> None:
        self.name = f"opensesame-{secrets.token_hex(4)}"
        self._app = app

    def start(self) -> str:
        """Starts one and waits until the engine says that it is healthy; its address."""
        volume = f"{self.name}:/var/lib/opensesame"
        published = ["-p", "127.0.0.1::8000"]
        docker("run", "-d", "--name", self.name, "-v", volume, *published, *limits(self._app), self._app["image"])
        until("healthy", lambda: self._inspect("{{.State.Health.Status}}") == "healthy", _STARTED_S)
        port = docker("port", self.name, "8000/tcp").splitlines()[0].rpartition(":")[2]
        return f"http://127.0.0.1:{port}"

    def shell(self, command: str) -> str:
        return docker("exec", self.name, "sh", "-c", command)

    def stop(self) -> int:
        """Stops it within what compose grants, and removes it; its exit status."""
        docker("stop", "-t", self._app["stop_grace_period"].removesuffix("s"), self.name)
        status = int(self._inspect("{{.State.ExitCode}}"))
        docker("rm", self.name)
        return status

    def remove(self) -> None:
        """Whatever is left of it, and its volume."""
        for words in (["rm", "-f", self.name], ["volume", "rm", "-f", self.name]):
            try:
                docker(*words)
            except RuntimeError as error:
                typer.echo(str(error), err=True)

    def _inspect(self, what: str) -> str:
        return docker("inspect", "-f", what, self.name)


def use(client: Client) -> None:
    """Ask, tell and train, as somebody does who tries it."""
    chance = random.Random(7)
    for _ in range(_TAUGHT):
        client.teach(chance)
    told = client.predict(catalog="billing", events=[{"endpoint": "GET /v1/disputes"}], prompt="close the dispute")
    assert told["predictions"][0]["path"].startswith("/v1/disputes"), told
    proved(f"{_TAUGHT} predictions told what was right; {told['predictions'][0]['path']} comes first")
    job = client.ask("POST", "/train", json={"force": True})["job_id"]
    state = until(
        "the training ends",
        lambda: (said := client.ask("GET", f"/train/{job}"))["status"] not in ("pending", "running") and said,
        _TRAINED_S,
    )
    assert state["status"] == "succeeded", state
    assert len(client.ask("GET", "/models")["models"]) > 1, "the ranker that was trained is not registered"
    proved("a training; its ranker is registered")


def prove(container: Container) -> None:
    """What somebody does who has just started it; RuntimeError or AssertionError where it is not as the pages say."""
    address = container.start()
    proved("healthy")
    assert container.shell("id -u") == "1000"
    assert container.shell("command -v gcc || true") == ""
    with httpx2.Client(base_url=address, timeout=30, trust_env=False) as nobody:
        assert nobody.post("/predict", json={"prompt": "list invoices"}).status_code == 401
        assert nobody.get("/").is_success
        assert nobody.get("/metrics").is_success
    proved("user 1000, no compiler; 401 without a key, the console and the metrics without one")
    key = container.shell(f"opensesame keys create {_SCOPES} {_OPTIONS}").split()[-1]
    use(Client([address], key))
    status = container.stop()
    assert status == 0, f"stopped with status {status}"
    proved("stopped with status 0")
    client = Client([container.start()], key)
    assert len(client.ask("GET", "/models")["models"]) > 1, "the ranker that was trained is gone"
    proved("started again: the key is known, and the ranker that was trained")
    container.stop()


def prove_compose(services: list[str]) -> None:
    """These services of compose.yaml together, under a project's name of its own."""
    compose = ["compose", "-f", str(_COMPOSE), "-p", f"opensesame-{secrets.token_hex(4)}"]
    try:
        docker(*compose, "up", "--build", "--detach", "--wait", *services, limit_s=_BUILD_S)
        proved(f"compose: {', '.join(services)}")
        words = shlex.split(f"opensesame keys create {_SCOPES} {_OPTIONS}")
        use(Client(["http://127.0.0.1:8000"], docker(*compose, "exec", "-T", "app", *words).split()[-1]))
        registered = httpx2.get(
            "http://127.0.0.1:5000/api/2.0/mlflow/model-versions/search", timeout=30, trust_env=False
        ).json()
        assert len(registered["model_versions"]) > 1, registered
        proved("its MLflow has the ranker")
        if "prometheus" in services:
            asked = "http://127.0.0.1:9090/api/v1/query?query=up"
            until("Prometheus reads the service", lambda: '"1"]' in httpx2.get(asked, trust_env=False).text, 60.0)
            proved("its Prometheus reads the service")
    finally:
        docker(*compose, "down", "--volumes")


def main(
    without: Annotated[list[str] | None, typer.Option(help="A service of compose.yaml to leave out.")] = None,
) -> None:
    """Build the image and put it to work, alone and in compose."""
    if shutil.which("docker") is None:
        raise typer.BadParameter("there is no docker on the PATH: this wants an engine, BuildKit and compose")
    services = yaml.safe_load(_COMPOSE.read_text())["services"]
    image = services["app"]["image"]
    docker("build", "-f", "docker/Dockerfile", "--target", "cpu", "-t", image, ".", limit_s=_BUILD_S)
    size = int(docker("image", "inspect", "-f", "{{.Size}}", image))
    proved(f"{image}: {size / 1e9:.2f} GB")
    container = Container(services["app"])
    try:
        prove(container)
    finally:
        container.remove()
    prove_compose(sorted(set(services) - set(without or [])))


if __name__ == "__main__":
    typer.run(main)
