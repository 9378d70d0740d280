"""The instance under test: what `opensesame serve` starts, and a door through which it is changed while it serves.

`python -m loadtest.stand` runs `serve.runtime.Runtime` with an overlay, and on a port of its own answers GET
`/replicas` (how many run, by deployment), `/redeploy` (every replica is replaced, as for new code) and `/config`
(another setting, deployed the same way). Started by `loadtest.hold`; ends on SIGINT.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import shutil
import threading
from pathlib import Path
from typing import Any

from pipeline import settings as configuration
from pipeline.settings import Settings


class Door(http.server.ThreadingHTTPServer):
    """Answers on loopback; a change is answered when its rollout is over."""

    daemon_threads = True

    def __init__(self, port: int, settings: Settings) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._settings = settings
        self._changes = 0
        self._changing = threading.Lock()

    def replicas(self) -> dict[str, dict[str, int]]:
        from ray import serve

        deployments = serve.status().applications["opensesame"].deployments
        return {
            name: {"status": told.status.name, **{str(state): n for state, n in told.replica_states.items()}}  # type: ignore[dict-item]
            for name, told in deployments.items()
        }

    def change(self, what: str) -> None:
        """Deploy again. The settings are an argument of every deployment, so that each change replaces all replicas."""
        from ray import serve

        from serve.graph import application

        with self._changing:
            self._changes += 1
            old = self._settings
            if what == "config":
                section: Any = {"predict": old.predict.model_copy(update={"k_default": 5 + self._changes % 2})}
            else:
                section = {"log": old.log.model_copy(update={"level": ("info", "warning")[self._changes % 2]})}
            self._settings = old.model_copy(update=section)
            serve.run(application(self._settings), name="opensesame", route_prefix="/")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Door

    def do_GET(self) -> None:
        what = self.path.strip("/")
        try:
            said: Any = None
            if what == "replicas":
                said = self.server.replicas()
            else:
                self.server.change(what)
            status = 200
        except Exception as error:  # whoever asks must hear it, whatever it is: this is a test's door
            said, status = {"error": repr(error)}, 500
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.stand", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--door", type=int, required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--var", type=Path, required=True)
    arguments = parser.parse_args()
    loaded = configuration.load(arguments.config)
    settings = loaded.model_copy(update={"server": loaded.server.model_copy(update={"port": arguments.port})})
    from serve.runtime import Runtime, wait_for_signal

    runtime = Runtime(settings, arguments.var)
    try:
        with wait_for_signal() as stopped:
            runtime.start()
            door = Door(arguments.door, runtime.settings)
            threading.Thread(target=door.serve_forever, daemon=True).start()
            print("ready", flush=True)
            stopped.wait()
    finally:
        with contextlib.suppress(OSError, shutil.Error):  # the runtime works in the folder that Ray writes its logs to
            shutil.copytree("session_latest/logs/serve", arguments.var.resolve() / "serve-logs", dirs_exist_ok=True)
        runtime.stop()


if __name__ == "__main__":
    main()
