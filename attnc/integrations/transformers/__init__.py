"""Kernels as attention implementations of the library `transformers`.

from attnc.integrations.transformers import register

register("mine", attnc.kernel("mine.attn"))
model.set_attn_implementation("mine")
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attnc.errors import UsageError
from attnc.integrations.transformers.roles import EXPECTED, find_roles, shown

if TYPE_CHECKING:
    from attnc.python.kernel import Kernel

MEANINGFUL = ("flash", "flex_attention", "sdpa")
"""A name that holds one of these makes transformers do more than look the name up."""


def register(
    name: str, kernel: Kernel[..., Any], /, *, ignore: Iterable[str] = (), **values: Any
) -> None:
    """Makes a kernel the attention implementation `name` of transformers' models.

    `kernel` takes a query [B,H,M,E], a key [B,J,N,E] and a value [B,J,N,F] as its first three
    tensors (batch, heads, positions, features) and gives [B,H,M,F] first. `values` are for its
    further arguments, parameters and tensors, in every call; those that it is not given here it
    takes from the model, by name. `ignore` names what a model may ask for in vain.

    Afterwards `model.set_attn_implementation(name)` uses it, or `attn_implementation=name` where a
    model is loaded. Whatever a model then asks of its attention and the kernel does not take is
    refused with `UsageError` when it is called, unless `ignore` names it.

    Raises `UsageError` for a kernel that does not fit, or a name that is taken.
    """
    if not hasattr(kernel, "signature"):
        kind = type(kernel).__name__
        raise UsageError(f"register takes a kernel, which attnc.kernel(...) makes, not a {kind}")
    import transformers

    from attnc.integrations.transformers.attention import Attention
    from attnc.integrations.transformers.masks import Masks
    from attnc.integrations.transformers.probe import probed

    library: Any = transformers
    if int(library.__version__.split(".")[0]) < 5:
        raise UsageError(f"transformers 5 or later is needed, not {library.__version__}")
    known = library.AttentionInterface()
    if name in known and not isinstance(known[name], Attention):
        raise UsageError(f"transformers has an attention called '{name}'; choose another name")
    if not re.fullmatch(r"\w+", name) or name == "eager" or any(m in name for m in MEANINGFUL):
        raise UsageError(
            f"'{name}' cannot be the name of an attention: it must consist of letters, digits and "
            f"_, must not be eager, and must not hold {', '.join(MEANINGFUL)}, which mean something"
            " to transformers"
        )
    roles = find_roles(kernel.signature, values)
    ignored = frozenset([ignore] if isinstance(ignore, str) else ignore)
    order = probed(kernel, roles, values)
    if roles.square and not roles.shared_heads and not order.mixes:
        raise UsageError(
            f"the kernel {kernel.name} does not attend over {roles.queries}, the third rank of "
            f"{shown(roles.query)}; {EXPECTED}"
        )
    arguments = frozenset(kernel.signature.arguments)
    attention = Attention(kernel, roles, ignored, dict(values), order, arguments)
    library.AttentionInterface.register(name, attention)
    library.AttentionMaskInterface.register(name, Masks(kernel.signature, roles, ignored))


__all__ = ["register"]
