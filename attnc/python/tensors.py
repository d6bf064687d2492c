"""PyTorch tensors as NumPy arrays of the same memory, and back.

NumPy lacks bfloat16 and the 8-bit floating types; there the bits are passed, and `ml_dtypes`
names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray

ELEMENTS: Final[Mapping[str, torch.dtype]] = {
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f32": torch.float32,
    "f64": torch.float64,
    "f8e4m3": torch.float8_e4m3fn,
    "f8e5m2": torch.float8_e5m2,
    "i8": torch.int8,
    "u8": torch.uint8,
    "i32": torch.int32,
    "i64": torch.int64,
    "bool": torch.bool,
}
"""The element types of the language."""

EXTENSIONS: Final[Mapping[torch.dtype, tuple[torch.dtype, Any]]] = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.uint8, ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: (torch.uint8, ml_dtypes.float8_e5m2),
}
_BACK: Final = {np.dtype(there): (bits, here) for here, (bits, there) in EXTENSIONS.items()}


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """The array that shares a CPU tensor's memory."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    extension = EXTENSIONS.get(plain.dtype)
    if extension is None:
        return plain.numpy()  # type: ignore[no-any-return]
    bits, there = extension
    return plain.view(bits).numpy().view(there)  # type: ignore[no-any-return]


def to_torch(array: NDArray[Any]) -> torch.Tensor:
    """The tensor that shares an array's memory."""
    back = _BACK.get(array.dtype)
    if back is None:
        return torch.from_numpy(array)
    bits, here = back
    raw = np.int16 if bits is torch.int16 else np.uint8
    return torch.from_numpy(array.view(raw)).view(here)
