"""GET /metrics: the exports of all nodes as one text, and what it says of a node that does not answer."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
import ray

from serve import scrape

ONE = """# HELP ray_opensesame_requests_total Requests.
# TYPE ray_opensesame_requests_total counter
ray_opensesame_requests_total{NodeAddress="10.0.0.1"} 3.0
# HELP ray_opensesame_predict_ms Time.
# TYPE ray_opensesame_predict_ms histogram
ray_opensesame_predict_ms_bucket{le="+Inf",NodeAddress="10.0.0.1"} 1.0
ray_opensesame_predict_ms_count{NodeAddress="10.0.0.1"} 1.0
"""
OTHER = ONE.replace("10.0.0.1", "10.0.0.2")


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Two nodes that export, one that has gone without a word, one that Ray knows to be dead; their ports."""
    servers = []
    for export in (ONE, OTHER):

        class Handler(http.server.BaseHTTPRequestHandler):
            body = export.encode()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(self.body)))
                self.end_headers()
                self.wfile.write(self.body)

            def log_message(self, *_: object) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    ports = [server.server_port for server in servers] + [1]
    known = [{"NodeManagerAddress": "127.0.0.1", "MetricsExportPort": port, "Alive": True} for port in ports]
    dead = {"NodeManagerAddress": "127.0.0.1", "MetricsExportPort": 2, "Alive": False}
    monkeypatch.setattr(ray, "nodes", lambda: [*known, dead])
    yield ports
    for server in servers:
        server.shutdown()
        server.server_close()


async def test_the_exports_of_all_nodes_are_one_text_and_a_silent_node_is_named(nodes: list[int]):
    lines = (await scrape.scrape()).decode().splitlines()
    assert lines[0] == f"# no answer from http://127.0.0.1:{nodes[2]}/metrics"
    assert sum("no answer" in line for line in lines) == 1
    for head in ("# HELP ray_opensesame_requests_total", "# TYPE ray_opensesame_predict_ms"):
        assert sum(line.startswith(head) for line in lines) == 1
    samples = [line for line in lines if not line.startswith("#")]
    assert len(samples) == 6
    family = [line.split("{")[0].removesuffix("_bucket").removesuffix("_count") for line in samples]
    assert family == sorted(family, key=family.index)  # each metric's samples stand together, as the format asks
