"""What is tested of coordinates becomes the inequalities that it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import gcd
from typing import Final

from attnc.ir.expr import Apply, Binary, Compare, Expr, Int, Name, Var
from attnc.ir.integers import Integers
from attnc.ir.polynomials import Sum, common, less, plus, replaced, shared, tight
from attnc.ir.tiles import Dot, Fold, Kernel, Map, Plan, Scan, Statement, TopK
from attnc.ir.tiles_facts import facts_of
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_walk import with_body
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.conditions.forms import Forms, mentioned
from attnc.passes.conditions.normal import Least, Many, Normal
from attnc.passes.running.build import multiplied
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import both, conjuncts

ORDERS: Final = frozenset(("<", "<=", ">", ">="))
PIECES: Final = frozenset(("abs", "min", "max", "clip"))
"""Functions that have several pieces."""


@dataclass(frozen=True)
class Affine:
    """Conditions on coordinates become inequalities of sums of these, where they are such.

    `abs(m - n) <= w` is `m - n <= w and n - m <= w`: what a tile's edges decide is then known of
    each, so that full tiles test none, and which lanes count for any row needs no look at them.
    Coordinates that go by a stride have it as a factor: `r * x - r * y <= w` is `x - y <= w // r`.
    """

    name: str = field(default="affine", init=False)

    def __call__(self, plan: Plan) -> Plan:
        known = known_of(plan, facts_of(plan).values)
        kernels = tuple(_Rewriter(Context(plan, k), known).kernel() for k in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


@dataclass
class _Lanes:
    """The lanes that conditions of one kernel speak of."""

    context: Context
    stream: str

    def kind(self, expr: Expr) -> Kind:
        """The kind of an expression."""
        return self.context.kind(expr)

    def depends(self, expr: Expr) -> frozenset[str]:
        """The axes along which an expression varies."""
        return self.context.varies(expr)


@dataclass
class _Rewriter:
    """Rewrites the predicates of one kernel."""

    context: Context
    known: Integers
    _done: dict[Expr, Expr] = field(default_factory=dict[Expr, Expr])

    def kernel(self) -> Kernel:
        """The kernel; the same if there is nothing to do."""
        kernel = self.context.kernel
        found = with_body(kernel, self._statement)
        return kernel if found == kernel else found

    def _statement(self, item: Statement) -> Iterator[Statement]:
        match item:
            case Dot(where=where) | Fold(where=where) | Scan(where=where) | TopK(where=where):
                found = both(*map(self._told, conjuncts(where)))
                yield item if found == where else replace(item, where=found)
            case _:
                yield item

    def _told(self, condition: Expr) -> Expr:
        if condition not in self._done:
            self._done[condition] = self._inequalities(condition)
        return self._done[condition]

    def _inequalities(self, condition: Expr) -> Expr:
        """A comparison of integers along a stream as sums are compared, where that says more."""
        context, kernel = self.context, self.context.kernel
        streams = {a.name for a in kernel.axes if a.kind == "stream"}
        along = context.sorted(context.varies(condition) & streams)
        sizes = {a.name: a.size for a in kernel.axes} | {c.name: c.size for c in kernel.coords}
        extents = (Compare(("<",), (Var(name), size)) for name, size in sizes.items())
        if not isinstance(condition, Compare) or not along or condition in extents:
            return condition
        forms = Forms(lambda e: context.kind(e) is not Kind.I64)
        opened = self._opened(condition)
        try:
            cases = Normal(_Lanes(context, along[0]), forms).cases(opened)
        except Many:
            return condition
        sums = [item.form for case in cases for item in case if isinstance(item, Least)]
        if not {*condition.ops} <= ORDERS or len(cases) != 1 or len(sums) != len(cases[0]):
            return condition
        atoms = (forms.atoms[t] for form in sums for t in mentioned(form))
        plain = not any(_has_pieces(a) and context.varies(a) for a in atoms)
        divided = [self._divided(forms, form) for form in sums]
        if not any(divided) and not (plain and _has_pieces(opened)):
            return condition
        told = (one or form for one, form in zip(divided, sums, strict=True))
        return both(*(self._written(forms, form) for form in told))

    def _opened(self, expr: Expr) -> Expr:
        """An expression with what tiles of integers are computed from."""
        item = self.context.defined.get(expr.name) if isinstance(expr, Name) else None
        if isinstance(item, Map) and item.kind is Kind.I64:
            return self._opened(item.value)
        return rebuild(expr, tuple(map(self._opened, children(expr))))

    def _divided(self, forms: Forms, form: Sum) -> Sum | None:
        """`x + c // r` for `r * x + c`, with `x` of coordinates alone and `c` of none."""
        coords = {n: forms.of(v) for n, v in self.context.coords.items() if n in mentioned(form)}
        moving, rest = self._parted(forms, replaced(form, coords))
        if not coords or not moving:
            return None
        by: Expr = Int(1)
        factor = gcd(*moving.values())
        if factor > 1:
            moving, by = tight(moving, factor), Int(factor)
        for atom in sorted(common(moving)):
            positive = Compare(("<",), (Int(0), forms.atoms[atom]))
            if not self._moves(forms.atoms[atom]) and self.known.shows(positive):
                moving, by = shared(moving, atom), multiplied(by, forms.atoms[atom])
        if by == Int(1):
            return None
        return plus(moving, forms.of(Binary("//", forms.expr(rest), by)))

    def _parted(self, forms: Forms, form: Sum) -> tuple[Sum, Sum]:
        """What of a sum is of coordinates and tiles, and the rest."""
        moving = {p: c for p, c in form.items() if any(self._moves(forms.atoms[t]) for t in p)}
        return moving, less(form, moving)

    def _moves(self, expr: Expr) -> bool:
        return bool(self.context.varies(expr))

    def _written(self, forms: Forms, form: Sum) -> Expr:
        """That a sum is not negative."""
        moving, rest = self._parted(forms, form)
        return Compare(("<=",), (forms.expr(less({}, moving)), forms.expr(rest)))


def _has_pieces(expr: Expr) -> bool:
    return any(isinstance(n, Apply) and n.function in PIECES for n in subexpressions(expr))
