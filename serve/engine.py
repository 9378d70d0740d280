"""vLLM's asynchronous engine as the proposer's `Engine`, on a GPU or a CPU by settings.

It starts in the background, on an event loop and a thread of its own: nobody waits for it, and until it is up every
request is refused. vLLM is imported there only. Held by deployment Generator; knows no Ray.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from pipeline.candidates import prompt, smollm
from pipeline.candidates.propose import Reply, Weighing
from pipeline.candidates.tokens import Prompts
from pipeline.errors import GeneratorError
from pipeline.settings import Generator as GeneratorSettings

_RESTART_PAUSE_S = 30.0  # a start that failed makes the replica unhealthy only then, so that it does not spin
_SILENT_S = 60.0  # requests but no reply for so long: ask the engine for a sign of life
_SIGN_OF_LIFE_S = 8.0
_CLOSE_S = 10.0
_RECENT = 256  # requests that the hit rate is of

log = structlog.get_logger(__name__)
T = TypeVar("T")


class VllmEngine:
    """vLLM's asynchronous engine as an `Engine`: starting, ok, failed (never came up), dead (was up) or closed."""

    def __init__(self, settings: GeneratorSettings) -> None:
        self.status = "starting"
        self.detail = ""
        self.start_s = 0.0
        self._settings = settings
        self._failed_at = 0.0
        self._waiting_since = 0.0  # when the oldest request began that no reply came after; 0 when none
        self._engine: Any = None
        self._prompts: Any = None
        self._lora: Any = None
        self._tokens: collections.deque[tuple[int, int]] = collections.deque(maxlen=_RECENT)  # in, of them cached
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._live, name="vllm", daemon=True)
        self._thread.start()

    async def generate(
        self,
        messages: Sequence[dict[str, str]],
        schema: dict[str, Any],
        max_tokens: int,
        temperature: float,
        request_id: str,
    ) -> Reply:
        """One reply in JSON of `schema`, of {} whatever it writes; cancelling the caller aborts the request.

        Raises:
            GeneratorError: the engine is starting, has failed or died, or the messages are too long for it.
        """
        return await self._there(self._complete(list(messages), schema, max_tokens, temperature, request_id))

    async def weigh(self, messages: Sequence[dict[str, str]], marks: Sequence[str], request_id: str) -> Weighing:
        """How likely the reply begins with each of `marks`, by one prefill and one token.

        Raises:
            GeneratorError: as `generate`, or the model's vocabulary has no token for a mark.
        """
        return await self._there(self._weigh(list(messages), list(marks), request_id))

    async def check_health(self) -> None:
        """Raises GeneratorError when only a new replica helps: the engine died, hangs, or did not start."""
        if self.status == "ok" and self._engine.errored:
            self._give_up("dead", repr(self._engine.dead_error))
        if self.status == "dead":
            raise GeneratorError(f"the engine died: {self.detail}")
        if self.status == "failed" and time.monotonic() - self._failed_at > _RESTART_PAUSE_S:
            raise GeneratorError(f"the engine did not start: {self.detail}")
        if self._waiting_since and time.monotonic() - self._waiting_since > _SILENT_S:
            try:
                async with asyncio.timeout(_SIGN_OF_LIFE_S):
                    await self.generate([{"role": "user", "content": "1"}], {"type": "boolean"}, 2, 0.0, "sign-of-life")
            except TimeoutError:
                raise GeneratorError("the engine has given no reply and no sign of life") from None

    @property
    def prefix_hit_rate(self) -> float:
        """Share of the last requests' prompt tokens that the engine had in its cache, by its own count."""
        recent = list(self._tokens)
        return sum(cached for _, cached in recent) / max(1, sum(tokens for tokens, _ in recent))

    def close(self) -> None:
        """End the engine and its processes; waits for them a few seconds."""
        if self.status in ("ok", "starting"):
            self.status = "closed"
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop ended by itself in between
                self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(_CLOSE_S)

    async def _there(self, call: Coroutine[Any, Any, T]) -> T:
        """What `call` returns, run on the loop of the engine."""
        if self.status != "ok":
            call.close()
            raise GeneratorError(f"the engine is not up: {self.status} {self.detail}".rstrip())
        self._waiting_since = self._waiting_since or time.monotonic()
        result = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))
        self._waiting_since = 0.0
        return result

    # On the thread of the engine

    def _live(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._run())
        finally:
            if self._engine is not None:
                self._engine.shutdown(timeout=_CLOSE_S / 2)
                self._engine = None

    async def _run(self) -> None:
        started = time.monotonic()
        try:
            self._engine = self._start()
            self._prompts = Prompts(self._engine.get_tokenizer())
            await self._warm_up()
        except Exception as error:  # whatever vLLM raises while it starts: the replica says so and is replaced
            log.error("generator_failed_to_start", error=repr(error))
            self._give_up("failed", repr(error))
            return
        self.start_s = time.monotonic() - started
        if self.status == "starting":
            self.status = "ok"
        log.info("generator_started", model=self._settings.model, start_s=round(self.start_s, 1))
        await self._closing.wait()

    def _start(self) -> Any:
        """The engine; blocks for as long as loading takes."""
        settings = self._settings
        os.environ.update(environment(settings))
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM

        if settings.lora:
            self._lora = LoRARequest("adapter", 1, settings.lora)
        model = {"model": smollm.weights(settings.model)}
        return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments(settings) | model))

    async def _warm_up(self) -> None:
        """One reply of the real shape: the first one compiles the grammar and is slow."""
        options = self._settings.options
        messages = [{"role": "user", "content": "warm up"}]
        if self._settings.mode == "logprob":
            await self._weigh(messages, list(prompt.LETTERS[:options]), "warm-up")
        else:
            await self._complete(messages, prompt.schema(options, min(7, options)), 16, 0.0, "warm-up")
        self._tokens.clear()

    async def _complete(
        self,
        messages: list[dict[str, str]],
        schema: dict[str, Any],
        max_tokens: int,
        temperature: float,
        request_id: str,
    ) -> Reply:
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        sampling = SamplingParams(
            max_tokens=max_tokens,
            temperature=temperature,
            output_kind=RequestOutputKind.FINAL_ONLY,
            structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
        )
        last, tokens_in = await self._last(messages, sampling, request_id)
        completion = last.outputs[0]
        return Reply(
            text=completion.text,
            tokens_in=tokens_in,
            tokens_cached=last.num_cached_tokens or 0,
            tokens_out=len(completion.token_ids),
            finish=str(completion.finish_reason),
        )

    async def _weigh(self, messages: list[dict[str, str]], marks: list[str], request_id: str) -> Weighing:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        asked = self._prompts.marks(marks)
        sampling = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            output_kind=RequestOutputKind.FINAL_ONLY,
            logprob_token_ids=asked,
        )
        last, tokens_in = await self._last(messages, sampling, request_id)
        found = last.outputs[0].logprobs[0]  # token id -> Logprob
        return Weighing(tuple(found[token].logprob for token in asked), tokens_in, last.num_cached_tokens or 0)

    async def _last(self, messages: list[dict[str, str]], sampling: Any, request_id: str) -> tuple[Any, int]:
        """The engine's last output for a request, and the request's tokens."""
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError

        ids = self._prompts.ids(messages)
        if len(ids) + sampling.max_tokens > self._settings.max_model_len:
            limit = self._settings.max_model_len
            raise GeneratorError(f"{len(ids)} tokens in and {sampling.max_tokens} out, over {limit}")
        last: Any = None
        try:
            async for output in self._engine.generate(
                {"prompt_token_ids": ids}, sampling, request_id, lora_request=self._lora
            ):
                last = output
        except EngineDeadError as error:
            self._give_up("dead", repr(error))
            raise GeneratorError("the engine died", asked=True) from None
        except VLLMClientError as error:
            raise GeneratorError(f"the engine refused the request: {error!r}") from None
        except Exception as error:  # of many kinds; none of them may fail a prediction
            raise GeneratorError(f"the engine failed on the request: {error!r}", asked=True) from None
        if last is None:
            raise GeneratorError("the engine gave no reply", asked=True)
        self._tokens.append((len(ids), last.num_cached_tokens or 0))
        return last, len(ids)

    def _give_up(self, status: str, detail: str) -> None:
        self.status, self.detail = status, detail[:500]
        self._failed_at = time.monotonic()


def arguments(settings: GeneratorSettings) -> dict[str, Any]:
    """The engine's arguments, as vLLM's `AsyncEngineArgs` names them."""
    chosen: dict[str, Any] = {
        "model": settings.model,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "enforce_eager": settings.enforce_eager,
        "enable_prefix_caching": True,
        "enable_log_requests": False,
        "disable_log_stats": True,
        "worker_extension_cls": "serve.lifeline.Lifeline",
        # Only here does vLLM read this flag; with blanks allowed small models write blanks to the end.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    }
    if settings.tensor_parallel_size > 1:
        chosen["distributed_executor_backend"] = "mp"  # inside an actor vLLM would pick Ray and a second actor
    if settings.quantization:
        chosen["quantization"] = settings.quantization
    if settings.lora:
        chosen |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": settings.lora_rank}
    if settings.num_gpus == 0:
        chosen["block_size"] = 32  # tokens; the default of 128 is too coarse to share prefixes of short prompts
        # In pieces of so many tokens a catalog's overview is read beside other requests' replies, not before them.
        chosen["max_num_batched_tokens"] = 2048
    else:
        chosen["gpu_memory_utilization"] = settings.gpu_memory_utilization
    return chosen


def environment(settings: GeneratorSettings) -> dict[str, str]:
    """What vLLM reads of the environment when it is imported, and the processes that it starts inherit."""
    variables = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # forking a process with threads deadlocks
        "VLLM_LOGGING_LEVEL": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if settings.num_gpus == 0:
        variables |= {
            "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib),
            # "auto" pins every engine of a machine to the same core; with nobind the threads are said outright.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(max(1, int(settings.num_cpus))),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the worker lives in the engine's process: 0.8 GB less
        }
    return variables
