"""The generator tuned end to end at toy size: a worker is killed, the run goes on, and vLLM serves what was learnt."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pipeline import settings as configuration
from pipeline.candidates import prompt
from tests.tiny_checkpoint import make_tiny_checkpoint
from train import corpus, pairs, tuning

pytestmark = [pytest.mark.cluster, pytest.mark.vllm, pytest.mark.slow]

CONFIG = """
generator: {enabled: true, model: tiny, mode: logprob, options: 6, overview_tokens: 0, max_model_len: 4096}
"""


def killed_worker(job: subprocess.Popen[str], work: Path) -> psutil.Process:
    """One of the job's workers, killed once Ray Train has noted a checkpoint to go on from."""
    until = time.monotonic() + 240
    while not any(
        b"checkpoint_dir_name" in file.read_bytes() for file in work.glob("tune-*/checkpoint_manager_snapshot.json")
    ):
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)
    workers = [p for p in psutil.Process(job.pid).children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
    workers[0].kill()
    return workers[0]


def test_a_killed_worker_is_replaced_and_vllm_serves_what_was_learnt(specs_folder: Path, tmp_path: Path) -> None:
    plan = corpus.Plan(specs=50, sessions=4, per_provider=50)
    limits = configuration.load().parse
    corpus.write(
        corpus.synthesize(specs_folder, corpus.choose(specs_folder, plan), plan, limits, workers=1), tmp_path / "corpus"
    )
    model = make_tiny_checkpoint(tmp_path / "tiny")
    config = tmp_path / "toy.yaml"
    config.write_text(CONFIG)
    arguments: dict[str, Any] = {
        "model": model, "out": tmp_path / "adapter", "corpus": tmp_path / "corpus", "var": tmp_path / "var",
        "work": tmp_path / "work", "config": config, "rank": 16, "epochs": 2, "batch": 4, "accumulate": 1,
        "rate": 1e-2, "workers": 2, "checkpoint-steps": 3, "judged": 16,
    }  # fmt: skip
    command = [sys.executable, "-m", "train.generator"]
    command += [str(part) for name, value in arguments.items() for part in (f"--{name}", value)]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        victim = killed_worker(job, tmp_path / "work")
        said, _ = job.communicate(timeout=300)
    finally:
        job.kill()
    assert job.returncode == 0, said
    assert not victim.is_running()
    assert not list((tmp_path / "work").glob("tune-*"))

    from pipeline.stores.registry import Registry

    with Registry(configuration.under(configuration.load(str(config)), tmp_path / "var").registry)._asked() as client:
        run = client.search_runs([client.get_experiment_by_name("opensesame-ranker").experiment_id])[0]
        curve = client.get_metric_history(run.info.run_id, "loss")
    assert json.loads(run.data.params["resumed"])[0] >= 3
    assert run.data.params["data"] == pairs.content_hash(tmp_path / "work" / "pairs")
    assert run.data.params["tuning_rank"] == "16"
    assert curve[-1].value < curve[0].value
    assert 0 <= run.data.metrics["choice/after"] <= 1

    learnt = pairs.read(tmp_path / "work" / "pairs", "train")[:16]
    served = weighed(config, model, tmp_path / "adapter", learnt)
    plain, tuned = (computed(model, adapter, learnt) for adapter in (None, tmp_path / "adapter"))
    np.testing.assert_allclose(served, tuned, atol=0.3)  # bfloat16
    assert sum(served) > sum(plain) + 1.0


def computed(model: Path, adapter: Path | None, some: list[pairs.Pair]) -> list[float]:
    """The log-probability of each pair's letter, as transformers says it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    how = tuning.Tuning(str(model), "logprob", rank=0)
    _, tokenizer = tuning.load(how)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter is not None:
        network = PeftModel.from_pretrained(network, adapter)
    told = []
    with torch.no_grad():
        for one in tuning.examples(some, tokenizer, how):
            logits = network(torch.tensor([list(one.prompt)])).logits[0, -1]
            told.append(float(torch.log_softmax(logits, -1)[one.reply[0]]))
    return told


def weighed(config: Path, model: Path, adapter: Path, some: list[pairs.Pair]) -> list[float]:
    """The log-probability of each pair's letter, as the engine of serving says it."""
    from serve.engine import VllmEngine

    environment = dict(os.environ)
    generator = {"model": str(model), "lora": str(adapter), "lora_rank": 16}
    engine = VllmEngine(configuration.load(str(config), generator=generator).generator)
    try:
        until = time.monotonic() + 240
        while engine.status == "starting" and time.monotonic() < until:
            time.sleep(0.1)
        assert engine.status == "ok", engine.detail

        async def ask() -> list[float]:
            told = []
            for number, pair in enumerate(some):
                weighing = await engine.weigh(pair.messages, prompt.LETTERS[: pair.options], f"learnt-{number}")
                told.append(weighing.logprobs[pair.option - 1])
            return told

        return asyncio.run(ask())
    finally:
        engine.close()
        os.environ.clear()
        os.environ.update(environment)  # vLLM's variables are the engine's, not of other tests
