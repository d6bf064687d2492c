"""Shows that a sum of products is never negative, by others that are not.

Sums that are never negative, times atoms that are not, are taken away from it until nothing is left
that may be negative. A sum of whole numbers times a factor is one without it, and `x` is not
negative just if `b * x + b - 1` is not, for a positive `b`: so a claim on a quotient by `b` becomes
one on what is divided.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Final

from attnc.ir.polynomials import (
    ONE,
    Product,
    Sum,
    common,
    divided,
    less,
    plus,
    shared,
    tight,
    times,
)

MOST_SUMS: Final = 80
"""Sums that are tried for one claim."""
MOST_FACTORS: Final = 3
"""Atoms in a product, where a sum is multiplied by what one of its quotients is divided by."""


@dataclass(frozen=True)
class Search:
    """Tries claims by what is known, each once."""

    facts: Sequence[Sum]
    """Sums that are never negative."""
    positive: frozenset[str]
    """Atoms that are never negative."""
    divisors: Mapping[str, Sum]
    """Quotients, with their divisor, which is positive."""
    _found: dict[tuple[tuple[Product, int], ...], bool] = field(
        default_factory=dict[tuple[tuple[Product, int], ...], bool], init=False
    )

    def __call__(self, claim: Sum) -> bool:
        """Whether a sum is shown never to be negative."""
        key = tuple(claim.items())
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._tried(claim)
        return found

    @functools.cached_property
    def _having(self) -> Mapping[bool, Mapping[Product, Sequence[tuple[int, int]]]]:
        """Where facts have each product: what adds it, and what takes it away."""
        found: dict[bool, dict[Product, list[tuple[int, int]]]] = {True: {}, False: {}}
        for number, fact in enumerate(self.facts):
            for place, (product, factor) in enumerate(fact.items()):
                if product != ONE:
                    found[factor > 0].setdefault(product, []).append((number, place))
        return found

    def _tried(self, claim: Sum) -> bool:
        tried: set[frozenset[tuple[Product, int]]] = set()
        waiting: deque[Sum] = deque([claim])
        while waiting and len(tried) < MOST_SUMS:
            item = waiting.popleft()
            key = frozenset(item.items())
            if key in tried:
                continue
            tried.add(key)
            if item.get(ONE, 0) >= 0 and not any(self._unknown(item)):
                return True
            waiting.extend(self._enough(item))
        return False

    def _unknown(self, item: Sum) -> Iterator[Product]:
        """The products of a sum that may make it less."""
        for product, factor in item.items():
            if product != ONE and (factor < 0 or not self.positive.issuperset(product)):
                yield product

    def _enough(self, item: Sum) -> Iterator[Sum]:
        """Sums that show a sum not to be negative, if one of them is not."""
        unknown = sorted(self._unknown(item), key=lambda m: (-len(m), m))
        targets = unknown or [m for m in item if m != ONE]
        less = [list(self._without(item, t)) for t in targets]
        if all(less) or not unknown:  # else nothing takes that product away
            for sums in less:
                yield from sums
        factor = gcd(*(c for m, c in item.items() if m != ONE))
        if factor > 1:
            yield tight(item, factor)
        for atom in common(item) & self.positive:
            if ONE not in item:
                yield shared(item, atom)
        for product in item:
            match product:
                case (atom,) if atom in self.divisors:
                    divisor = self.divisors[atom]  # x >= 0 just if b * x > -b
                    more = plus(plus(times(divisor, item), divisor), {ONE: -1})
                    if max(map(len, more), default=0) <= MOST_FACTORS:
                        yield more
                case _:
                    pass

    def _without(self, item: Sum, target: Product) -> Iterator[Sum]:
        """A sum less as much of a fact, times what is not negative, as takes a product away."""
        sign = item[target] > 0
        found: dict[tuple[int, int], Product] = {}
        for product, places in self._having[sign].items():
            rest = divided(target, product)
            if rest is not None and self.positive.issuperset(rest):
                found |= dict.fromkeys(places, rest)
        for number, place in sorted(found):
            taken = times(self.facts[number], {found[number, place]: 1})
            for other, factor in taken.items():  # that product, or what else they share
                if other != ONE and factor * item.get(other, 0) > 0:
                    scaled = times(item, {ONE: abs(factor)})
                    yield less(scaled, times(taken, {ONE: abs(item[other])}))
