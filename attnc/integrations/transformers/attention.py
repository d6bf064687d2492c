"""The function that a model calls in place of its attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnc.integrations.transformers.probe import Order
from attnc.integrations.transformers.roles import Roles, shown
from attnc.integrations.transformers.rows import by_rows, select
from attnc.integrations.transformers.wishes import Layer, check_options, parameters
from attnc.ir.cascade import Input, Size

if TYPE_CHECKING:
    from attnc.python.kernel import Kernel

HIDES: dict[bool | None, str] = {
    True: "hides later keys",
    False: "lets a query see later keys",
    None: "does not run on four positions, so that it is unknown whether it hides later keys",
}


@dataclass(frozen=True)
class Attention:
    """A kernel as an attention function of transformers."""

    kernel: Kernel[..., Any]
    roles: Roles
    ignore: frozenset[str]
    values: Mapping[str, Any]
    order: Order
    arguments: frozenset[str]
    """The names of the kernel's arguments."""

    def __call__(
        self,
        module: Any,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        **options: Any,
    ) -> tuple[Any, None]:
        """The result [B,M,H,F] for a query [B,H,M,E], a key [B,J,N,E] and a value [B,J,N,F].

        Raises `UsageError` for what the model asks for and the kernel does not take.
        """
        pairs = self.roles.mask_kind == "pairs"
        settled = self.ignore | {"sliding_window"} if pairs else self.ignore  # the mask has it
        name = type(module).__name__
        layer = Layer(self.kernel.signature, name, settled, self.values, self.arguments)
        mask = None if pairs else _key_mask(layer, attention_mask, query.shape[0])
        if mask is not None:  # shorter where the end of a cache is not written yet
            key, value = key[:, :, : mask.shape[1]], value[:, :, : mask.shape[1]]
        queries, keys = query.shape[2], key.shape[2]
        causal = options.get("is_causal")
        if causal is None:
            causal = getattr(module, "is_causal", None)
        self._check_order(layer, causal, queries, keys)
        options["is_causal"] = causal
        if self.roles.shared_heads and key.shape[1] != query.shape[1]:
            times = query.shape[1] // key.shape[1]
            key, value = (t.repeat_interleave(times, dim=1) for t in (key, value))
        config = getattr(module, "config", None)
        check_options(layer, options, config, features=query.shape[3], keys=keys)
        given = parameters(layer, options, features=query.shape[3], keys=keys)
        tensors, sizes = self._tensors(layer, options, (query, key, value))
        if self.roles.mask is not None:
            name = self.roles.mask.name
            if pairs:
                full = _pair_mask(layer, attention_mask, query, keys, len(self.roles.mask.sizes))
                tensors[name] = _fitted(full, self.roles.mask, sizes)
            else:
                tensors[name], mask = self._own_mask(key, mask)
        out = self._run_masked(layer, tensors, given, mask, causal=causal is True)
        return out.transpose(1, 2).contiguous(), None

    def _check_order(self, layer: Layer, causal: bool | None, queries: Any, keys: Any) -> None:
        """Raises `UsageError` if the kernel treats the order of positions otherwise than asked."""
        if self.roles.square and queries != keys:
            layer.refuse(
                f"{queries} queries meet {keys} keys, but the kernel has one rank "
                f"{self.roles.queries} for both; where a cache is the reason, call the model with "
                "use_cache=False"
            )
        if causal and queries != keys and not self.order.continues and not layer.settles("cache"):
            layer.refuse(
                f"{queries} queries meet {keys} keys, of which they are the last, and the kernel "
                "gives them other values than among all queries; write n <= m + (N - M) for causal "
                "attention, call the model with use_cache=False, or",
                ignore="cache",
            )
        asks = queries != 1 and causal is not None and not layer.settles("is_causal")
        if asks and self.roles.mask_kind != "pairs" and self.order.causal is not causal:
            layer.refuse(
                f"it asks for {'causal' if causal else 'bidirectional'} attention, and the kernel "
                f"{HIDES[self.order.causal]}; write the condition n <= m + (N - M) or leave it out,"
                " take a parameter is_causal: bool, or",
                ignore="is_causal",
            )

    def _tensors(
        self, layer: Layer, options: Mapping[str, Any], qkv: tuple[Any, Any, Any]
    ) -> tuple[dict[str, Any], dict[Size, int]]:
        """All tensors of the kernel by name, but the mask; and the sizes that others fit to."""
        found: dict[str, Any] = {}
        sizes: dict[Size, int] = {}
        roles = self.roles
        fitted = bool(roles.others) or roles.mask_kind == "pairs"
        for item, tensor in zip((roles.query, roles.key, roles.value), qkv, strict=True):
            found[item.name] = tensor
            if fitted:
                sizes |= dict(zip(item.sizes, tensor.shape, strict=True))
        for item in roles.others:
            tensor = self.values.get(item.name, options.get(item.name))
            if tensor is None:
                layer.refuse(
                    f"the kernel needs {shown(item)}, which the model does not pass; give it once: "
                    f"register(..., {item.name}=tensor)"
                )
            found[item.name] = _fitted(tensor, item, sizes)
        return found, sizes

    def _own_mask(self, key: Any, mask: Any) -> tuple[Any, Any]:
        """What the kernel's own mask gets, and the mask [B,N] that remains to be seen to."""
        import torch

        batch, keys = key.shape[0], key.shape[2]
        if self.roles.mask_kind == "keys":
            return torch.ones_like(
                key[:, 0, :, 0], dtype=torch.bool
            ) if mask is None else mask, None
        wide = torch.int64 if self.roles.mask and self.roles.mask.element == "i64" else torch.int32
        if mask is None:
            return torch.full((batch,), keys, dtype=wide, device=key.device), None
        lengths = mask.sum(1, dtype=wide)
        if torch.compiler.is_compiling():
            return lengths, mask
        first = torch.arange(keys, device=key.device) < lengths[:, None]
        return lengths, None if torch.equal(mask, first) else mask

    def _run_masked(
        self,
        layer: Layer,
        tensors: Mapping[str, Any],
        given: Mapping[str, Any],
        mask: Any,
        *,
        causal: bool,
    ) -> Any:
        """The kernel's result [B,H,M,F] without the keys that a mask [B,N] excludes."""
        import torch

        if mask is not None and torch.compiler.is_compiling():
            layer.refuse(
                "under torch.compile a padded batch needs a kernel with a mask, [B,N]: bool, and a "
                "static cache one for each query and key, [B,1,M,N]: bool; where nothing is padded,"
                " leave attention_mask out"
            )

        def run(chosen: Mapping[Size, Any]) -> Any:
            parts = [tensors[i.name] for i in layer.signature.inputs]
            if chosen:
                sizes = (i.sizes for i in layer.signature.inputs)
                parts = [select(t, s, chosen) for t, s in zip(parts, sizes, strict=True)]
            found: Any = self.kernel(*parts, **given)
            return found[0] if len(layer.signature.outputs) > 1 else found

        if mask is None or bool(mask.all()):
            return run({})
        query, value = tensors[self.roles.query.name], tensors[self.roles.value.name]
        out = query.new_zeros((*query.shape[:3], value.shape[3]))
        by_rows(run, self.roles, mask, out, causal=causal)
        return out


def _key_mask(layer: Layer, mask: Any, batch: Any) -> Any:
    """A mask [B,N] of keys that are no padding, or None; raises `UsageError` for any other."""
    if mask is None:
        return None
    if mask.ndim != 2 or mask.dtype.is_floating_point:
        layer.refuse(
            f"the model passes a mask of {mask.ndim} ranks, {mask.dtype}, which is no padding "
            "[batch, keys]; take a mask for each query and key, [B,1,M,N]: bool"
        )
    return mask.bool().expand(batch, -1)


def _pair_mask(layer: Layer, mask: Any, query: Any, keys: Any, ranks: int) -> Any:
    """A mask [B,1|H,M,N], or [B,M,N] for 3 ranks, of the pairs that are seen; none sees all."""
    import torch

    if mask is None:
        mask = query.new_ones((query.shape[0], 1, query.shape[2], keys), dtype=torch.bool)
    if mask.ndim != 4 or mask.dtype is not torch.bool:
        layer.refuse(
            f"the model passes a mask of {mask.ndim} ranks, {mask.dtype}, which is no bool "
            "[batch, heads, queries, keys]; no kernel can take it"
        )
    if ranks == 4:
        return mask
    if mask.shape[1] != 1:
        layer.refuse("the model passes a mask for each head; take it as [B,H,M,N]: bool")
    return mask[:, 0]


def _fitted(tensor: Any, item: Input, sizes: Mapping[Size, int]) -> Any:
    """A tensor with axes of size 1 repeated, as a model broadcasts them; others stay."""
    if tensor.ndim != len(item.sizes):
        return tensor  # the kernel says what is wrong with it
    wanted = [
        sizes.get(rank, size) if size == 1 else size
        for rank, size in zip(item.sizes, tensor.shape, strict=True)
    ]
    return tensor.expand(wanted)
