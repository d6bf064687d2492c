"""What a plan says of its values: bindings, requirements, and what is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from attnc.ir.expr import Choice, Compare, Expr, Int, Value
from attnc.ir.integers import Integers
from attnc.ir.tiles import Let, Plan
from attnc.ir.tiles_facts import tensor_sizes
from attnc.ir.types import Kind, Type

ZERO = Int(0)


def known_of(plan: Plan, values: Mapping[str, Type]) -> Integers:
    """What holds of a plan's values, whose types are given, in its kernels, as far as integers go.

    Sizes are not negative. Bindings and requirements have a value, else the call is refused.
    """
    whole = frozenset(n for n, t in values.items() if t.kind is Kind.I64)
    sizes = {size for tensor in tensor_sizes(plan).values() for size in tensor}
    sizes |= {axis.size for kernel in plan.kernels for axis in kernel.axes}
    found = _known(whole, plan.lets, plan.requires, plan.given, plan.tiles, frozenset(sizes))
    return replace(found, atoms=dict(found.atoms), _around=None)  # who asks adds to these


@lru_cache(maxsize=16)
def _known(
    whole: frozenset[str],
    lets: tuple[Let, ...],
    requires: tuple[Expr, ...],
    given: tuple[Expr, ...],
    tiles: tuple[str, ...],
    sizes: frozenset[Expr],
) -> Integers:
    """The same of all plans that passes make of one."""
    meanings = {let.name: let.value for let in lets if let.kind is Kind.I64}
    computed = (*(let.value for let in lets), *requires)
    known = (*map(at_least_zero, sorted(sizes, key=repr)), *requires, *given)
    known += tuple(Compare(("<=",), (Int(1), Value(name))) for name in tiles)
    found = Integers(whole, meanings).knowing(known, computed)
    chosen = (let for let in lets if isinstance(let.value, Choice) and let.name in whole)
    numbers = [(let, n) for let in chosen for n in (0, 1) if _at_least(found, let.value, n)]
    return found.knowing(Compare(("<=",), (Int(n), Value(let.name))) for let, n in numbers)


def _at_least(known: Integers, expr: Expr, number: int) -> bool:
    """Whether an integer is at least a number, whichever way a choice goes."""
    match expr:
        case Choice(then=then, other=other):
            return _at_least(known, then, number) and _at_least(known, other, number)
        case _:
            return known.shows(Compare(("<=",), (Int(number), expr)))


def at_least_zero(number: Expr) -> Expr:
    """`0 <= number`."""
    return Compare(("<=",), (ZERO, number))
