"""The Serve config of a cluster: the graph of `serve.graph` with the settings of a deployment, as KubeRay reads it.

`python -m serve.manifest k8s/overlays/*` writes serve-config.yaml into each folder: a patch of the RayService, made
from the settings.yaml beside it, which is the very file that the pods mount and load. Replicas, concurrency and
resources thus come from the same settings as those of `opensesame serve`. Nothing is started; a test holds that
what is committed is what would be written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
import yaml

from pipeline.settings import Settings, load
from serve import tracing

APP = "opensesame"
MOUNTED = "/etc/opensesame/settings.yaml"  # where the pods find their settings
SETTINGS, WRITTEN = "settings.yaml", "serve-config.yaml"  # of an overlay
PORT = 8000  # KubeRay's probes, its service and the pods' ports name it


def serve_config(settings: Settings, config: str = MOUNTED) -> dict[str, Any]:
    """What `serve deploy` and RayService's serveConfigV2 take, for settings that the cluster loads as `config`."""
    from ray.serve._private.build_app import build_app
    from ray.serve.deployment import deployment_to_schema

    from serve.graph import application

    built = build_app(application(settings), name=APP)
    deployments = [deployment_to_schema(d).model_dump(mode="json", exclude_unset=True) for d in built.deployments]
    return {
        "proxy_location": "EveryNode",  # KubeRay's readiness probe asks the proxy of every pod
        "http_options": {
            "host": settings.server.host,
            "port": PORT,
            "request_timeout_s": settings.ray.request_timeout_s,
        },
        "logging_config": {
            "encoding": "JSON" if settings.log.format == "json" else "TEXT",
            "log_level": settings.log.level.upper(),
            "enable_access_log": False,  # the ingress writes its own line, without the query string
        },
        **({"tracing_config": traces} if (traces := tracing.config(settings.tracing)) else {}),
        "applications": [
            {
                "name": APP,
                "route_prefix": "/",
                "import_path": "serve.graph:build",
                "args": {"config": config},
                "deployments": sorted(deployments, key=lambda deployment: str(deployment["name"])),
            }
        ],
    }


def patch(settings: Settings) -> str:
    """The text of serve-config.yaml."""
    text = yaml.safe_dump(serve_config(settings), sort_keys=False, width=120)
    indented = "".join(f"    {line}\n" for line in text.splitlines())
    return (
        f"# Written by `python -m serve.manifest` from {SETTINGS}: change that, and write this again.\n"
        "apiVersion: ray.io/v1\n"
        "kind: RayService\n"
        "metadata:\n"
        f"  name: {APP}\n"
        "spec:\n"
        "  serveConfigV2: |\n"
        f"{indented}"
    )


def main(folders: list[Path]) -> None:
    """Write the Serve config of each overlay."""
    for folder in folders:
        (folder / WRITTEN).write_text(patch(load(folder / SETTINGS)), encoding="utf-8")
        typer.echo(str(folder / WRITTEN))


if __name__ == "__main__":
    typer.run(main)
