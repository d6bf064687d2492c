"""What of a model's mask reaches a kernel: the padding, unless the kernel takes a whole mask.

Causality and windows are the kernel's own business. A model says in one function, of the positions
of a query and a key, what it would mask besides padding; where that is neither nothing, nor
causal, nor a window, no kernel can know it, and it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attnc.errors import UsageError
from attnc.integrations.transformers.roles import Roles
from attnc.python.signature import Signature


@dataclass(frozen=True)
class Masks:
    """A mask function of transformers: called once in a forward pass for each kind of layer."""

    signature: Signature
    roles: Roles
    ignore: frozenset[str]

    def __call__(self, **asked: Any) -> Any:
        """The mask as the attention gets it.

        For a kernel with a mask for each query and key, bool [B, 1, M, N]. Else bool [B, N'], true
        where a key is no padding, for the first N' of the N keys: the others are places of a cache
        that nothing has been written to. None if that is true everywhere.
        """
        library = _masking_utils()
        whole = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
        if self.roles.mask_kind == "pairs":
            return library.sdpa_mask(**{**asked, **whole})
        if "mask" not in self.ignore:
            self._check_pattern({**asked, **whole, "attention_mask": None})
        return self._padding(**asked)

    def _padding(
        self,
        batch_size: int,
        kv_length: int,
        kv_offset: int = 0,
        attention_mask: Any = None,
        **asked: Any,
    ) -> Any:
        import torch

        tracing = torch.compiler.is_compiling()
        offset, queries = _queries(asked)
        if tracing and isinstance(offset, torch.Tensor):
            raise UsageError(
                f"the kernel {self.signature.name}: a static cache has places that are not written "
                "yet, and under torch.compile their number is unknown; leave the default cache, or "
                "give the kernel a mask for each query and key, [B,1,M,N]: bool"
            )
        keys = min(kv_length, int(offset) + queries - kv_offset) if _is_causal(asked) else kv_length
        if attention_mask is None:
            if keys == kv_length:
                return None
            return torch.ones(batch_size, keys, dtype=torch.bool, device=asked.get("device", "cpu"))
        mask = attention_mask.bool()
        if mask.shape[1] != keys:  # else it may be one that this function has given before
            mask = mask[:, kv_offset : kv_offset + keys]
            mask = torch.nn.functional.pad(mask, (0, keys - mask.shape[1]))
        return None if keys == kv_length and not tracing and bool(mask.all()) else mask

    def _check_pattern(self, asked: Mapping[str, Any]) -> None:
        """Raises `UsageError` if a model masks by more than causality and a window it may have."""
        import torch

        library = _masking_utils()
        known = library.causal_mask_function, library.bidirectional_mask_function
        if asked.get("mask_function") in known:
            return
        mask = library.sdpa_mask(**asked)
        offset, queries = _queries(asked)
        m = torch.arange(queries, device=mask.device)[:, None] + offset
        n = torch.arange(asked["kv_length"], device=mask.device) + asked["kv_offset"]
        plain = (mask == (n <= m)).all() | mask.all()
        window = getattr(asked.get("config"), "sliding_window", None)
        if window is not None:
            near = (m - n).abs()
            windowed = (mask == ((n <= m) & (near < window))).all()
            windowed |= (mask == (near <= window)).all()  # bidirectional
            if self._settles("sliding_window"):
                plain |= windowed
            else:
                self._refuse_unless(
                    plain | ~windowed,
                    f"attends within a window, sliding_window = {window}, which the kernel does not"
                    " take; give it a parameter sliding_window: int, or",
                    "sliding_window",
                )
        self._refuse_unless(
            plain,
            "masks by more than padding and causality (packed sequences, blocks or chunks), which "
            "the kernel does not take; give it a mask for each query and key, [B,1,M,N]: bool, or",
            "mask",
        )

    def _settles(self, name: str) -> bool:
        return name in self.ignore or name in self.signature.arguments

    def _refuse_unless(self, holds: Any, reason: str, ignore: str) -> None:
        """Raises `UsageError`; in a compiled graph, `RuntimeError` when the graph runs."""
        import torch

        message = (
            f"the kernel {self.signature.name}: the model {reason} register it with "
            f"ignore=('{ignore}',)"
        )
        if torch.compiler.is_compiling():
            assert_async: Any = torch.ops.aten._assert_async.msg
            assert_async(holds, message)
        elif not holds:
            raise UsageError(message)


def _queries(asked: Mapping[str, Any]) -> tuple[Any, int]:
    """The position of the first query, which may be a tensor, and the number of queries."""
    positions = asked.get("cache_position")  # instead of the two, in early versions of 5
    if positions is not None:
        return positions[0], positions.shape[0]
    return asked.get("q_offset", 0), asked["q_length"]


def _is_causal(asked: Mapping[str, Any]) -> bool:
    """Whether keys behind the last query may exist only as places of a cache."""
    return asked.get("mask_function") is not _masking_utils().bidirectional_mask_function


def _masking_utils() -> Any:
    from transformers import masking_utils

    return masking_utils
