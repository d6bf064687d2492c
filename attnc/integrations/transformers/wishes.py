"""What a model asks of an attention besides query, key and value, and what a kernel takes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from attnc.errors import UsageError
from attnc.python.signature import Signature

NEUTRAL: Final = frozenset(
    "cache_position deterministic is_causal labels layer_idx logits_to_keep num_items_in_batch "
    "output_hidden_states output_router_logits position_embeddings position_ids return_dict "
    "token_type_ids use_cache".split()
)
"""What models pass along that is not for the attention, or that has been seen to before."""


@dataclass(frozen=True)
class Layer:
    """One kind of layer of a model, with the kernel that it calls."""

    signature: Signature
    name: str
    ignore: frozenset[str]
    values: Mapping[str, Any]
    arguments: frozenset[str]
    """The names of the kernel's arguments."""

    def settles(self, name: str) -> bool:
        """Whether a wish of this name is the kernel's own argument, or ignored."""
        return name in self.ignore or name in self.arguments

    def refuse(self, reason: str, *, ignore: str | None = None) -> NoReturn:
        """Raises the error, with the way to ignore what was asked for."""
        way = f" register it with ignore=('{ignore}',)" if ignore else ""
        raise UsageError(f"the kernel {self.signature.name} in {self.name}: {reason}{way}")


def check_options(
    layer: Layer, options: Mapping[str, Any], config: Any, *, features: int, keys: Any
) -> None:
    """Raises `UsageError` for a wish that would change the result and that the kernel leaves.

    `features` is E, `keys` N, and `config` the model's configuration.
    """
    if any(p.name == "sliding_window" for p in layer.signature.parameters):
        window = getattr(config, "sliding_window", None)
        if window is not None and not {*options, *layer.values} >= {"sliding_window"}:
            layer.refuse(
                f"the model has sliding_window = {window}, but does not tell its layers whether to "
                "use it; give it once: register(..., sliding_window=value)"
            )
    for name, value in options.items():
        if _changes_nothing(name, value, features, keys) or layer.settles(name):
            continue
        if name == "output_attentions":
            layer.refuse("the model asks for the weights of its attention, and a kernel gives none")
        layer.refuse(
            f"the model passes {name}{_told(value)}, which changes the result; take it as a "
            "parameter or a tensor of that name, or",
            ignore=name,
        )


def parameters(
    layer: Layer, options: Mapping[str, Any], *, features: int, keys: Any
) -> dict[str, Any]:
    """The parameters to call the kernel with, from what was registered and what the model asks.

    `features` is E and `keys` N. Raises `UsageError` for a parameter that nobody gives.
    """
    found: dict[str, Any] = {}
    for parameter in layer.signature.parameters:
        name = parameter.name
        if name in layer.values:
            found[name] = layer.values[name]
        elif options.get(name) is not None:
            found[name] = options[name]
        elif name == "sliding_window" and name in options:
            found[name] = keys  # a window that hides nothing
        elif name == "scaling" and name in options:
            found[name] = features**-0.5
        elif parameter.default is None:
            layer.refuse(
                f"the parameter {name} has no default and the model does not pass it; give it once:"
                f" register(..., {name}=value)"
            )
    return found


def _changes_nothing(name: str, value: Any, features: int, keys: Any) -> bool:
    """Whether a wish asks for what softmax(Q K^T / sqrt(E)) V with all keys does anyway."""
    if value is None or value is False or name in NEUTRAL:
        return True
    match name, value:
        case "scaling", int() | float():
            return math.isclose(value, features**-0.5, rel_tol=1e-6)
        case "dropout", int() | float():
            return value == 0
        case "sliding_window", int():
            return bool(value >= keys)
        case _:
            return False


def _told(value: Any) -> str:
    match value:
        case float():
            return f" = {value:.6g}"
        case int():
            return f" = {value}"
        case _:
            return ""
