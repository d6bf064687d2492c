"""Sizes, parameters and data at which tiles are drawn: those that were given, and samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from attnc.drawing.sample import expressions, given, sample
from attnc.errors import UsageError, printable
from attnc.grammar.scope import suggestion
from attnc.ir.cascade import Constant
from attnc.ir.expr import Expr, Value
from attnc.ir.facts import Facts
from attnc.ir.tiles import Kernel, Plan
from attnc.ir.walk import subexpressions
from attnc.passes.analysis.tile_numbers import Numbers
from attnc.passes.analysis.tile_presence import predicates
from attnc.passes.analysis.tile_visits import innermost
from attnc.tile_data import completed, sizes_of, unfit

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILES: Final = 8
"""Tiles along a side whose size was not given."""


class Asked(Protocol):
    """What was given."""

    @property
    def sizes(self) -> Mapping[str, int]: ...
    @property
    def static(self) -> Mapping[str, Constant]: ...
    @property
    def files(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Values:
    """What tiles were computed from; `notes` tell where the values of inputs come from."""

    known: Mapping[str, Constant]
    sizes: Mapping[str, int]
    """Those of extents, but for ranks held whole that nobody gave."""
    chosen: tuple[str, ...]
    """The sizes that nobody gave."""
    parameters: Mapping[str, Constant]
    data: Mapping[str, NDArray[Any]]
    notes: tuple[str, ...]


def values_of(
    facts: Facts, plan: Plan, kernel: Kernel, asked: Asked, tiles: Mapping[str, int]
) -> Values:
    """The values for a picture of a kernel's tiles; raises `UsageError` where they do not fit."""
    arrays = given(facts, asked.files)
    parameters = _parameters(facts, asked)
    extents = [s for i in plan.inputs for s in i.sizes if isinstance(s, str)]
    _check(facts, extents, asked)
    fixed = {n: v for n, v in asked.sizes.items() if n in extents}
    sizes = sizes_of(facts, arrays, {**fixed, **_extents(parameters, extents)})
    known = _tied(facts, plan, {**parameters, **sizes}, _sides(kernel, extents, tiles))
    known = completed(plan, kernel, known, tiles)
    why = unfit(plan, kernel, known)
    if why:
        raise UsageError(f"{why[0]}; see --size")
    notes = {n: f"from {printable(Path(path).name)}" for n, path in asked.files.items()}
    for name in _deciding(Numbers(plan, kernel, known)):
        item = next((i for i in facts.cascade.inputs if i.name == name), None)
        if item is not None and name not in arrays:
            exprs = list(expressions(facts.cascade.einsums))
            drawn = sample(facts, item, exprs, known, decides=True)
            arrays[name] = drawn.array
            notes[name] = f"a sample, {drawn.note} (--data gives others)"
    whole = {n for a in kernel.axes if a.kind == "whole" for n in _names(a.size)}
    shown = [n for n in dict.fromkeys(extents) if n in sizes or n not in whole]
    drawn_sizes = {n: int(known[n]) for n in shown if n in known}
    return Values(
        known,
        drawn_sizes,
        tuple(n for n in drawn_sizes if n not in sizes),
        parameters,
        arrays,
        tuple(f"{name}: {note}" for name, note in notes.items()),
    )


def _check(facts: Facts, extents: list[str], asked: Asked) -> None:
    parameters = [p.name for p in facts.cascade.parameters]
    for name, size in asked.sizes.items():
        if size < 0 and name in extents:
            raise UsageError(f"the extent {name} = {size} is negative")
        if name not in extents and name not in parameters:
            hint = suggestion(name, extents) or f"sizes: {', '.join(dict.fromkeys(extents))}"
            raise UsageError(f"'{facts.cascade.name}' has no size '{name}'; {hint}")


def _parameters(facts: Facts, asked: Asked) -> dict[str, Constant]:
    found: dict[str, Constant] = {}
    for item in facts.cascade.parameters:
        value = asked.static.get(item.name, asked.sizes.get(item.name, item.default))
        if value is None:
            raise UsageError(f"the parameter '{item.name}' has no value: --static {item.name}=...")
        found[item.name] = value
    return found


def _extents(parameters: Mapping[str, Constant], extents: list[str]) -> dict[str, int]:
    return {n: int(v) for n, v in parameters.items() if n in extents}


def _sides(kernel: Kernel, extents: list[str], tiles: Mapping[str, int]) -> dict[str, int]:
    """Sizes for what is tiled: a few tiles."""
    found: dict[str, int] = {}
    for axis in kernel.axes:
        tile = tiles.get(axis.name, 1)
        if axis.kind in ("stream", "step") or tile > 1:
            names = _names(axis.size) & set(extents)
            found |= dict.fromkeys(sorted(names), TILES * tile)
    return found


def _names(size: Expr) -> set[str]:
    return {n.name for n in subexpressions(size) if isinstance(n, Value)}


def _tied(
    facts: Facts, plan: Plan, known: Mapping[str, Constant], sides: Mapping[str, int]
) -> dict[str, Constant]:
    """Known values with sizes of sides, equal where the cascade says so."""
    found = dict(known)
    equal = facts.equalities.equal
    for item in plan.inputs:
        for size in item.sizes:
            if isinstance(size, str) and size not in found:
                tied = [v for n, v in found.items() if equal(Value(size), Value(n))]
                if tied or size in sides:
                    found[size] = tied[0] if tied else sides[size]
    return found


def _deciding(numbers: Numbers) -> tuple[str, ...]:
    """The tensors whose values decide on tiles."""
    exprs: list[Expr] = []
    for loop in innermost(numbers.kernel):
        exprs += [c for parts in predicates(numbers, loop) for c in parts]
        for one in (*loop.around, loop.loop):
            exprs += [one.where, *(e for r in one.ranges for e in (r.low, r.high, r.step))]
    return numbers.loaded(*exprs)
