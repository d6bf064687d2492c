"""Calls that need nothing of PyTorch's dispatcher, and are spared its time: 20 us on one core.

An operator is there for programs that are traced, exported, differentiated or transformed, and for
tensors that are more than numbers in main memory. Of a call that is none of this, PyTorch would
only hand the tensors on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import torch
from torch.autograd import forward_ad

PLAIN: Final = (torch.Tensor, torch.nn.Parameter)


def is_direct(tensors: Iterable[Any]) -> bool:
    """Whether a kernel for CPUs may be called on these tensors as they are.

    It is not asked while a graph is traced.
    """
    native: Any = torch._C
    if (
        native._len_torch_function_stack()
        or native._len_torch_dispatch_stack()
        or native._functorch.peek_interpreter_stack() is not None
        or native._get_tracing_state() is not None
        or forward_ad._current_level >= 0
    ):
        return False
    gradients = torch.is_grad_enabled()
    for tensor in tensors:
        if type(tensor) not in PLAIN or not tensor.is_cpu or tensor.is_neg():
            return False
        if gradients and tensor.requires_grad:
            return False
    return True
