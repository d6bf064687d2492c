"""Padded batches for a kernel that takes no mask: the padding is cut out before it sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from attnc.integrations.transformers.roles import Roles
from attnc.ir.cascade import Size

Run: TypeAlias = Callable[[Mapping[Size, Any]], Any]
"""The result at some indices of each rank named."""


def by_rows(run: Run, roles: Roles, mask: Any, out: Any, *, causal: bool) -> None:
    """Fills `out` [B,H,M,F]; `mask` [B,N] is true where a key is no padding.

    Sequences with the same padding go together. Where queries are the last positions of the keys,
    those that are padding stay 0. Only where the layer is not causal may queries be of another
    sequence than the keys, as many or fewer by chance; so there the remaining ones are run as well.
    """
    queries, keys = out.shape[2], mask.shape[1]
    patterns, members = mask.unique(dim=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        kept = {
            roles.batch: (members == number).nonzero().flatten(),
            roles.keys: pattern.nonzero().flatten(),
        }
        own = pattern[keys - queries :] if queries <= keys else mask.new_ones(queries)
        groups = [own] if causal or roles.square or own.all() else [own, ~own]
        for group in groups:
            chosen = {**kept, roles.queries: group.nonzero().flatten()}
            rows, places = chosen[roles.batch], chosen[roles.queries]
            if len(places):
                out[rows[:, None], :, places] = run(chosen).transpose(1, 2)


def select(tensor: Any, sizes: tuple[Size, ...], chosen: Mapping[Size, Any]) -> Any:
    """The part of a tensor at the chosen indices of its ranks."""
    for axis, size in enumerate(sizes):
        if size in chosen:
            tensor = tensor.index_select(axis, chosen[size])
    return tensor
