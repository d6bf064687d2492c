"""Sums of products of atoms, with whole factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

Product: TypeAlias = tuple[str, ...]
"""Atoms by their texts, in order; the empty one is 1."""
Sum: TypeAlias = Mapping[Product, int]
"""Products with their factors, none of which is 0."""

ONE: Final[Product] = ()


def differences(op: str, a: Sum, b: Sum) -> list[Sum]:
    """The sums that are not negative just if a comparison holds."""
    match op:
        case "<":
            return [plus(less(b, a), {ONE: -1})]
        case "<=":
            return [less(b, a)]
        case ">":
            return [plus(less(a, b), {ONE: -1})]
        case ">=":
            return [less(a, b)]
        case _:
            return [less(a, b), less(b, a)]


def number(value: int) -> Sum:
    """A number as a sum."""
    return {ONE: value} if value else {}


def plus(a: Sum, b: Sum) -> Sum:
    """Of two sums, the sum."""
    found = dict(a)
    for product, factor in b.items():
        _add(found, product, factor)
    return found


def _add(to: dict[Product, int], product: Product, factor: int) -> None:
    """Adds a product to a sum that is being made."""
    new = to.get(product, 0) + factor
    if new:
        to[product] = new
    else:
        to.pop(product, None)


def less(a: Sum, b: Sum) -> Sum:
    """The first sum less the second."""
    found = dict(a)
    for product, factor in b.items():
        _add(found, product, -factor)
    return found


def times(a: Sum, b: Sum) -> Sum:
    """The product of two sums, multiplied out."""
    if b.keys() == {ONE}:
        return {m: c * b[ONE] for m, c in a.items()}
    found: dict[Product, int] = {}
    for x, c in a.items():
        for y, d in b.items():
            _add(found, tuple(sorted((*x, *y))) if x and y else x or y, c * d)
    return found


def tight(item: Sum, factor: int) -> Sum:
    """A sum of whole numbers times a factor, without it: its number is rounded down."""
    found = {m: c // factor for m, c in item.items()}
    return {m: c for m, c in found.items() if c}


def divided(product: Product, by: Product) -> Product | None:
    """A product without some of its atoms; None if it lacks one."""
    rest = list(product)
    for atom in by:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest)


def common(item: Sum) -> set[str]:
    """The atoms that all products of a sum have, its number left out."""
    products = [set(m) for m in item if m != ONE]
    return set.intersection(*products) if products else set()


def shared(item: Sum, atom: str) -> Sum:
    """A sum without an atom that all of its products have."""
    rests = ((divided(m, (atom,)), c) for m, c in item.items())
    return {m: c for m, c in rests if m is not None}


def replaced(item: Sum, new: Mapping[str, Sum]) -> Sum:
    """A sum with sums for atoms."""
    found: Sum = {}
    for product, factor in item.items():
        part: Sum = {ONE: factor}
        for atom in product:
            part = times(part, new.get(atom, {(atom,): 1}))
        found = plus(found, part)
    return found
