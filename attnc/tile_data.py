"""The tiles that kernels visit, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from attnc.backends.triton.schedule import tiled
from attnc.errors import UsageError
from attnc.grammar.scope import suggestion
from attnc.ir import printer
from attnc.ir.cascade import Constant
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Binary, Expr, Value, Var
from attnc.ir.facts import Facts
from attnc.ir.tiles import Axis, Kernel, Plan
from attnc.ir.walk import subexpressions
from attnc.passes.algebra.sizes import FEATURES
from attnc.passes.analysis.tile_counts import TileCounts, tile_counts
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.summary_every import told
from attnc.passes.tiling.summary_look import shared

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE: Final = 64
"""Coordinates of a tile along an axis that a device tiles."""
LARGEST: Final = 1 << 20
FREE: Final = ("par", "stream")
"""The kinds of axes whose tiles have a size to choose."""


def check_tiles(plan: Plan, asked: Mapping[str, int]) -> None:
    """Raises `UsageError` unless each is a size of tiles of an axis that has some."""
    known = dict.fromkeys(a.name for k in plan.kernels for a in k.axes if a.kind in FREE)
    known |= dict.fromkeys(name for k in plan.kernels for name in turns(k))
    for name, size in asked.items():
        if name not in known:
            hint = suggestion(name, known) or f"tiled are {', '.join(known) or 'none'}"
            raise UsageError(f"no kernel of '{plan.name}' has tiles along '{name}'; {hint}")
        if not 1 <= size <= LARGEST:
            raise UsageError(f"tiles of {size} along '{name}': from 1 to {LARGEST:,}")


def tile_sizes(plan: Plan, kernel: Kernel, asked: Mapping[str, int]) -> dict[str, int]:
    """The sizes of a kernel's tiles: as asked, else as a device chooses which axes are tiled."""
    asked = _of_axes(kernel, asked)
    chosen = tiled(Context(plan, kernel))
    axes = [a.name for a in kernel.axes if a.kind in FREE]
    return {a: asked.get(a, SIZE if a in chosen else 1) for a in axes}


def turns(kernel: Kernel) -> dict[str, str]:
    """The axes that have the tiles of coordinates which go by a stride: `x * r + c`."""
    moving = {a.name for a in kernel.axes if a.kind in ("stream", "step")}
    found: dict[str, str] = {}
    for coord in kernel.coords:
        match coord.value:
            case Binary(op="*", left=Var(name=name)):
                found[coord.name] = name
            case Binary(op="+", left=Binary(op="*", left=Var(name=name)), right=first) if all(
                not isinstance(n, Var) or n.name not in moving for n in subexpressions(first)
            ):
                found[coord.name] = name
            case _:
                pass
    return found


def _of_axes(kernel: Kernel, asked: Mapping[str, int]) -> dict[str, int]:
    """Sizes of tiles by axes, those of coordinates that go by a stride included."""
    found = turns(kernel)
    return {found.get(name, name): size for name, size in asked.items()}


def tiles_of(
    plan: Plan,
    kernel: Kernel,
    known: Mapping[str, Constant],
    asked: Mapping[str, int],
    data: Mapping[str, NDArray[Any]],
) -> dict[str, object] | None:
    """How many tiles a kernel visits, and how many it has to; None where it streams nothing.

    `known` are sizes and parameters, `asked` sizes of tiles, `data` arrays of inputs.
    """
    if not any(a.kind == "stream" for a in kernel.axes):
        return None
    asked = _of_axes(kernel, asked)
    tiles = tile_sizes(plan, kernel, asked)
    shown = {a: n for a, n in tiles.items() if n > 1 or a in asked}
    shown = shown or {a.name: 1 for a in kernel.axes if a.kind == "stream"}
    values = completed(plan, kernel, known, tiles)
    why = unfit(plan, kernel, values)
    lists = told(plan, kernel)
    counts: TileCounts | None = TileCounts(why=why)
    if not why:
        counts = tile_counts(plan, lists.kernel, values, tiles, data, lists.full)
    if counts is None:
        return None
    return {"tile": shown, **_as_data(counts), "lists": _lists(plan, kernel, values, tiles)}


def _lists(
    plan: Plan, kernel: Kernel, values: Mapping[str, Constant], tiles: Mapping[str, int]
) -> dict[str, object] | None:
    """What lists of tiles that a kernel before makes take, if there are any: bytes, and of what.

    `per` are the axes whose tiles each have a list, `bytes` None where a size is not known.
    """
    looks = [look for s in kernel.body if (look := shared(Context(plan, kernel), s))]
    if not looks:
        return None
    total: int | None = 0
    for look in looks:
        rows = every = 1
        for axis in look.axes:
            size = evaluate(axis.size, values)
            count = -(-int(size) // tiles.get(axis.name, 1)) if size is not None else None
            if count is None:
                total = None
                break
            every *= count
            rows *= count if axis.name != look.loop.axis else 1
        if total is not None:
            total += 8 * every + 8 * rows
    per = [a.name for a in looks[0].axes if a.name != looks[0].loop.axis]
    return {"per": per, "bytes": total}


def _as_data(found: TileCounts) -> dict[str, object]:
    partial = saved = None
    if found.visited is not None and found.full is not None:
        partial = found.visited - found.full
        saved = round(1 - found.visited / found.all, 4) if found.all else None
    return {
        "all": found.all,
        "visited": found.visited,
        "full": found.full,
        "partial": partial,
        "minimum": found.minimum,
        "full_possible": found.full_possible,
        "saved": saved,
        "why": "; ".join(found.why) or None,
    }


def completed(
    plan: Plan, kernel: Kernel, known: Mapping[str, Constant], tiles: Mapping[str, int]
) -> dict[str, Constant]:
    """Sizes and parameters with bindings, and with nominal numbers for sizes that were not given.

    These are 1 for what a program takes one coordinate of, and that of features for what is held
    whole. A size that a binding relates to one that was given has none.
    """
    extents = {s for i in plan.inputs for s in i.sizes if isinstance(s, str)} - known.keys()
    names = [frozenset(_values(let.value)) for let in plan.lets]
    tied = {n for group in names if group & known.keys() for n in group}
    length = {n for a in kernel.axes if _long(a, tiles) for n in _opened(plan, a.size)}
    whole = {n for a in kernel.axes if a.kind == "whole" for n in _opened(plan, a.size)}
    free = extents - tied - length
    values = dict(known) | {n: FEATURES if n in whole else 1 for n in sorted(free)}
    for let in plan.lets:
        found = evaluate(let.value, values)
        if found is not None:
            values[let.name] = found
    return values


def _long(axis: Axis, tiles: Mapping[str, int]) -> bool:
    """Whether what is counted depends on the extent of an axis by more than a factor."""
    return axis.kind in ("stream", "step") or tiles.get(axis.name, 1) > 1


def _values(expr: Expr) -> set[str]:
    return {n.name for n in subexpressions(expr) if isinstance(n, Value)}


def _opened(plan: Plan, expr: Expr) -> set[str]:
    """The values in an expression, those in bindings included."""
    lets = {let.name: let.value for let in plan.lets}
    found: set[str] = set()
    stack = [expr]
    while stack:
        for name in _values(stack.pop()) - found:
            found.add(name)
            stack += [lets[name]] if name in lets else []
    return found


def unfit(plan: Plan, kernel: Kernel, values: Mapping[str, Constant]) -> list[str]:
    """Why nothing can be counted at some sizes."""
    lets = {let.name for let in plan.lets}
    sizes = [a.size for a in kernel.axes if evaluate(a.size, values) is None]
    missing = {n for size in sizes for n in _opened(plan, size)} - values.keys() - lets
    if missing:
        return [f"no value is given for {', '.join(sorted(missing))}"]
    broken = [r for r in plan.requires if evaluate(r, values) is False]
    return [f"these sizes break 'require {printer.expression(r)}'" for r in broken[:1]]


def sizes_of(
    facts: Facts, data: Mapping[str, NDArray[Any]], sizes: Mapping[str, int]
) -> dict[str, int]:
    """Sizes with those of arrays; raises `UsageError` where they contradict each other."""
    found = dict(sizes)
    for item in facts.cascade.inputs:
        if item.name in data:
            for size, length in zip(item.sizes, data[item.name].shape, strict=True):
                if found.setdefault(str(size), length) != length or _other(size, length):
                    raise UsageError(f"'{item.name}' has {length} along {size}")
    return {n: v for n, v in found.items() if not n.isdigit()}


def _other(size: str | int, length: int) -> bool:
    return isinstance(size, int) and size != length
