"""Sums of products: their factors, and the cheapest order in which to multiply and sum them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from attnc.ir.expr import Apply, Binary, Expr
from attnc.ir.walk import FreeVariables
from attnc.passes.algebra.sizes import Work, monomial


@dataclass(frozen=True)
class Factor:
    """One factor of a product.

    `divides`: the product is divided by it. `condition`: the product is present where this holds.
    """

    expr: Expr
    variables: frozenset[str]
    divides: bool = False
    condition: bool = False


def factors(expr: Expr, free: FreeVariables) -> list[Factor]:
    """The factors of a product, from left to right, its divisors and conditions among them."""
    match expr:
        case Binary(op="*", left=left, right=right):
            return factors(left, free) + factors(right, free)
        case Binary(op="/", left=left, right=right):
            return [*factors(left, free), Factor(right, free(right), divides=True)]
        case Apply(function="only", arguments=(value, condition)):
            return [*factors(value, free), Factor(condition, free(condition), condition=True)]
        case _:
            return [Factor(expr, free(expr))]


def is_product(expr: Expr) -> bool:
    """Whether an expression is a product or quotient of two."""
    return isinstance(expr, Binary) and expr.op in ("*", "/")


@dataclass(frozen=True)
class Part:
    """An expression of a product, and the factor that it is if it is a single one."""

    expr: Expr
    factor: Factor | None = None

    @property
    def divides(self) -> bool:
        """Whether the product is divided by it."""
        return self.factor is not None and self.factor.divides

    @property
    def condition(self) -> bool:
        """Whether it is a condition."""
        return self.factor is not None and self.factor.condition


def together(parts: Sequence[Part]) -> list[Part]:
    """Parts multiplied into one, apart from conditions, and from divisors of nothing."""
    conditions = [p for p in parts if p.condition]
    numbers = [p for p in parts if not p.condition]
    if len(numbers) < 2 or all(p.divides for p in numbers):
        return list(parts)
    return [Part(product(numbers)), *conditions]


def product(parts: Sequence[Part]) -> Expr:
    """Parts multiplied, then divided, then conditioned, each in order."""
    result, *others = [p.expr for p in parts if not (p.divides or p.condition)]
    for expr in others:
        result = Binary("*", result, expr)
    for part in parts:
        if part.divides:
            result = Binary("/", result, part.expr)
    for part in parts:
        if part.condition:
            result = Apply("only", (result, part.expr))
    return result


@dataclass(frozen=True)
class Node:
    """A product of some factors, summed over what no other factor and no result needs.

    A leaf has no parts.
    """

    members: frozenset[int]
    inner: frozenset[str]
    """The variables of the product before it is summed."""
    variables: frozenset[str]
    """Those that are left."""
    work: Work
    parts: tuple[Node, ...] = ()

    @property
    def sums(self) -> bool:
        """Whether variables are summed here."""
        return self.inner != self.variables


@dataclass
class Search:
    """The cheapest binary tree over factors, by dynamic programming over their subsets.

    Absence is a zero of its own: added to the numbers it makes a semiring, in which to multiply by
    an absent factor, or to add nothing, gives absence. Products so distribute over sums, and every
    tree has the same value and the same presence. A condition is a factor that is 1 or absent; to
    sum it apart would count points, so that it is multiplied into another factor first.
    """

    factors: Sequence[Factor]
    results: frozenset[str]
    sizes: Mapping[str, Expr]
    number: Callable[[Work], int]
    existing: Callable[[frozenset[Expr], frozenset[str]], bool] = lambda _, __: False
    """Whether a sum of these factors, over all but some variables, is computed anyway."""
    _known: dict[frozenset[int], Node] = field(default_factory=dict[frozenset[int], "Node"])

    def best(self) -> Node:
        """The cheapest tree of all factors."""
        return self._best(frozenset(range(len(self.factors))))

    def _best(self, members: frozenset[int]) -> Node:
        if members not in self._known:
            found = [self._leaf(members)] if len(members) == 1 else self._trees(members)
            self._known[members] = min(
                found,
                key=lambda n: (self.number(n.work), len(n.work.terms)),
            )
        return self._known[members]

    def _leaf(self, members: frozenset[int]) -> Node:
        (i,) = members
        inner = self.factors[i].variables
        variables = inner & self._needed(members)
        if self._bare(members):
            variables = inner
        work = Work((self._points(inner),)) if inner != variables else Work(())
        return Node(members, inner, variables, work)

    def _trees(self, members: frozenset[int]) -> Iterator[Node]:
        """One tree for each way to part the factors in two."""
        first, *others = sorted(members)
        for count in range(len(others)):
            for chosen in itertools.combinations(others, count):
                one = frozenset((first, *chosen))
                yield self._joined(self._best(one), self._best(members - one))

    def _joined(self, a: Node, b: Node) -> Node:
        """The product of two, summed as far as can be."""
        members, inner = a.members | b.members, a.variables | b.variables
        variables = inner if self._bare(members) else inner & self._needed(members)
        # a condition is a mask, which costs nothing until what it masks is summed
        masks = any(self._conditions(n.members) for n in (a, b)) and inner == variables
        work = Work(() if masks or self._bare(members) else (self._points(inner),))
        if len(members) < len(self.factors) and self._exists(members, variables):
            return Node(members, inner, variables, Work(()), (a, b))
        return Node(members, inner, variables, a.work + b.work + work, (a, b))

    def _exists(self, members: frozenset[int], variables: frozenset[str]) -> bool:
        parts = [self.factors[i] for i in members]
        if any(f.divides or f.condition for f in parts):
            return False
        exprs = frozenset(f.expr for f in parts)
        return len(exprs) == len(parts) and self.existing(exprs, variables)

    def _points(self, variables: frozenset[str]) -> tuple[Expr, ...]:
        return monomial(self.sizes[v] for v in variables)

    def _bare(self, members: frozenset[int]) -> bool:
        """Whether these are conditions and divisors, which make no product by themselves."""
        return all(self.factors[i].condition or self.factors[i].divides for i in members)

    def _conditions(self, members: frozenset[int]) -> bool:
        return all(self.factors[i].condition for i in members)

    def _needed(self, members: frozenset[int]) -> frozenset[str]:
        """The variables that the result or a factor outside needs."""
        others = (f.variables for i, f in enumerate(self.factors) if i not in members)
        return self.results.union(*others)
