"""What operations cost as polynomials in the sizes of ranks, and nominal sizes to compare them at.

No name of a rank means anything here.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from attnc.ir import printer
from attnc.ir.cascade import Binding, Constant, Input, Output
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Binary, Compare, Expr, Float, Int, Read, Reduce, Value, Var
from attnc.ir.facts import Facts
from attnc.ir.types import Kind
from attnc.ir.walk import FreeVariables, children, subexpressions

LENGTH: Final = 4096
"""A rank whose size nothing says anything about counts as this many positions."""

FEATURES: Final = 64
"""A rank of features counts as this many."""

Monomial: TypeAlias = tuple[Expr, ...]
"""A product of sizes, sorted by their texts."""


@dataclass(frozen=True)
class Work:
    """Scalar multiplications and additions: a sum of products of sizes."""

    terms: tuple[Monomial, ...]

    def __add__(self, other: Work) -> Work:
        return Work(self.terms + other.terms)

    def never_above(self, other: Work) -> bool:
        """Whether this is not more whatever the sizes are, if none is 0.

        It is if each term divides a term of the other's, each of them used once.
        """
        left = list(other.terms)
        for term in sorted(self.terms, key=len, reverse=True):
            fitting = [o for o in left if not Counter(term) - Counter(o)]
            if not fitting:
                return False
            left.remove(min(fitting, key=len))
        return True

    def __str__(self) -> str:
        parts: list[str] = []
        for term, count in Counter(self.terms).items():
            sizes = [printer.expression(s, printer.PRODUCT + 1) for s in term] or ["1"]
            parts.append("*".join([*([str(count)] if count > 1 else []), *sizes]))
        return " + ".join(parts) or "0"


def monomial(sizes: Iterable[Expr]) -> Monomial:
    """The product of some sizes; those of 1 are left out."""
    kept = [s for s in sizes if s != Int(1)]
    return tuple(sorted(kept, key=printer.expression))


def common_factor(*works: Work) -> tuple[str, tuple[Work, ...]]:
    """The product of sizes that all terms have, as a text, and what is left of each."""
    counts = [Counter(term) for work in works for term in work.terms]
    common = counts[0] if counts else Counter[Expr]()
    for count in counts:
        common &= count
    left = tuple(
        Work(tuple(monomial((Counter(term) - common).elements()) for term in work.terms))
        for work in works
    )
    return str(Work((monomial(common.elements()),))) if common else "", left


@dataclass
class Nominal:
    """Sizes to compare by where no order is never worse: those given, else nominal ones.

    A literal is itself, and so is a parameter with a default; a binding is computed. Another extent
    is one of features if it ends the shape of at least half of the inputs of floats that have it
    beside others, nothing but products of tensors is summed along it, and its positions are not
    compared with another's. If it ends the shape of all of them, other reductions may be there if
    it ends an output, too, or tensors with other ranks of their own are combined along it.
    Else it is a length. Outputs count like inputs for an extent along which no extreme is taken.
    """

    facts: Facts
    given: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        cascade = self.facts.cascade
        self.values: dict[str, Constant] = {
            p.name: p.default for p in cascade.parameters if p.type == "int" and p.default
        }
        features = frozenset(self._features())
        self.features: frozenset[str] = features
        ranks = [s for i in cascade.inputs for s in i.sizes if isinstance(s, str)]
        for rank in (*ranks, *(p.name for p in cascade.parameters if p.type == "int")):
            self.values.setdefault(rank, FEATURES if rank in features else LENGTH)
        self.values |= self.given
        for statement in cascade.statements:
            if isinstance(statement, Binding):
                found = evaluate(statement.value, self.values)
                if found is not None:
                    self.values[statement.name] = found

    def _features(self) -> set[str]:
        ends: Counter[str] = Counter()
        has: Counter[str] = Counter()
        extreme = self._extreme()
        cascade = self.facts.cascade
        items: tuple[Input | Output, ...] = (*cascade.inputs, *cascade.outputs)
        for item in items:
            if len(item.sizes) < 2 or self.facts.types[item.name].kind < Kind.F32:
                continue
            without = extreme if isinstance(item, Output) else frozenset[str]()
            has.update({s for s in item.sizes if isinstance(s, str)} - without)
            ends.update({s for s in item.sizes[-1:] if isinstance(s, str)} - without)
        inner = {s for s in has if ends[s] * 2 >= has[s]} - self._compared()
        reduced = self._reduced()
        contracted = (
            self._contracted()
            | {s for o in cascade.outputs for s in o.sizes[-1:] if isinstance(s, str)} - extreme
        )
        return {s for s in inner if s not in reduced or (ends[s] == has[s] and s in contracted)}

    def _contracted(self) -> set[str]:
        """The extents along which tensors are combined that have other ranks of their own."""
        found: set[str] = set()
        free = FreeVariables()
        for einsum in self.facts.cascade.einsums:
            for node in subexpressions(einsum.value):
                if not isinstance(node, Reduce):
                    continue
                axes = {free(r) for r in subexpressions(node.body) if isinstance(r, Read)}
                for variable in node.variables:
                    size = self.facts.variables[variable]
                    own = [a for a in axes if variable in a]
                    apart = any(a - b and b - a for a, b in itertools.combinations(own, 2))
                    if apart and isinstance(size, Value):
                        found.add(size.name)
        return found

    def _reduced(self) -> set[str]:
        """The extents along which something else than products of tensors is summed."""
        found: set[str] = set()
        for einsum in self.facts.cascade.einsums:
            for node in subexpressions(einsum.value):
                if isinstance(node, Reduce) and not (node.op == "sum" and _is_product(node.body)):
                    sizes = (self.facts.variables[v] for v in node.variables)
                    found |= {s.name for s in sizes if isinstance(s, Value)}
        return found

    def _extreme(self) -> frozenset[str]:
        """The extents along which a maximum or minimum is taken."""
        found: set[str] = set()
        for einsum in self.facts.cascade.einsums:
            for node in subexpressions(einsum.value):
                if isinstance(node, Reduce) and node.op in ("max", "min"):
                    sizes = (self.facts.variables[v] for v in node.variables)
                    found |= {s.name for s in sizes if isinstance(s, Value)}
        return frozenset(found)

    def _compared(self) -> set[str]:
        """The extents whose positions are compared with those of another variable."""
        found: set[str] = set()
        for einsum in self.facts.cascade.einsums:
            for part in (einsum.value, *einsum.where):
                for node in subexpressions(part):
                    variables = _positions(node) if isinstance(node, Compare) else set[str]()
                    if len(variables) > 1:
                        sizes = (self.facts.variables[v] for v in variables)
                        found |= {s.name for s in sizes if isinstance(s, Value)}
        return found

    def size(self, size: Expr) -> int:
        """The number of one size, at least 1."""
        found = evaluate(size, self.values)
        return max(int(found), 1) if found is not None else LENGTH

    def is_feature(self, size: Expr) -> bool:
        """Whether a size is that of a rank of features, whatever its number."""
        return isinstance(size, Value) and size.name in self.features

    def number(self, work: Work) -> int:
        """The number of operations."""
        return sum(math.prod(map(self.size, term)) for term in work.terms)


def _is_product(expr: Expr) -> bool:
    """Whether an expression is a product of reads and values."""
    match expr:
        case Binary(op="*" | "/", left=left, right=right):
            return _is_product(left) and _is_product(right)
        case _:
            return isinstance(expr, Read | Value | Int | Float)


def _positions(expr: Expr) -> set[str]:
    """The variables whose coordinates an expression computes with, apart from where it reads."""
    found: set[str] = set()
    stack = [expr]
    while stack:
        node = stack.pop()
        if isinstance(node, Var):
            found.add(node.name)
        elif not isinstance(node, Read):
            stack += children(node)
    return found
