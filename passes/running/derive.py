"""Running forms of the reductions over one or several streamed ranks.

A reduction `R = (+)_n F(x_n, r)` whose `F` holds earlier results `r` of the same stream is kept as
a state `Phi` that is right for the `r` of the points seen so far. When more points change `r`, the
state is brought along, `Phi <- T(r_old, r_new) Phi`, and the new points are added. The result is
`c(r) . Phi`. Two states of disjoint points merge in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from attnc.ir.cascade import Einsum, Slot
from attnc.ir.expr import Expr, Read, Reduce, Var
from attnc.passes.running.anchor import Anchors
from attnc.passes.running.closure import closed
from attnc.passes.running.exact import TooLarge
from attnc.passes.running.forms import (
    Added,
    Derivation,
    Extreme,
    Plain,
    Refusal,
    Running,
    Sum,
)
from attnc.passes.running.monotone import hoisted
from attnc.passes.running.prefix import Prefix
from attnc.passes.running.stable import unstable
from attnc.passes.running.terms import Inseparable


@dataclass(frozen=True)
class Around:
    """What a cascade says beyond its reductions.

    `requires` are its requirements, `definitions` its bindings, `grid` axes of which a kernel holds
    one point each.
    """

    requires: tuple[Expr, ...] = ()
    definitions: Mapping[str, Expr] = field(default_factory=dict)
    grid: frozenset[str] = frozenset()


def derive(
    einsums: Sequence[Einsum],
    streamed: Iterable[str],
    extents: Iterable[str] = (),
    around: Around | None = None,
    fresh: Callable[[str], str] | None = None,
    *,
    anchored: bool = False,
) -> Derivation:
    """The running forms of reductions over the streamed rank variables.

    Each Einsum is one reduction, `R[...] = op[n](F)`, in an order in which they can be computed; an
    `F` may hold any of those before it. With `fresh`, which gives names that are not in use,
    reductions may be added about which others are kept; without it, those are refused. With
    `anchored` a sum whose terms span three axes becomes one of matrix products, to be measured.
    """
    deriver = _Deriver(frozenset(streamed), frozenset(extents), around or Around(), fresh, anchored)
    for einsum in einsums:
        deriver(einsum)
    return Derivation(tuple(deriver.found), tuple(deriver.refusals), tuple(deriver.added))


class _Deriver:
    def __init__(
        self,
        streamed: frozenset[str],
        extents: frozenset[str],
        around: Around,
        fresh: Callable[[str], str] | None,
        anchored: bool,
    ) -> None:
        self.prefix = Prefix(streamed, extents, around.requires, around.definitions)
        self.grid = around.grid
        self.fresh = fresh
        self.anchored = anchored
        self.found: list[Running] = []
        self.refusals: list[Refusal] = []
        self.added: list[Added] = []

    def __call__(self, einsum: Einsum) -> None:
        """Derives one reduction, or notes why not; what was added for one in vain goes again."""
        found, added = len(self.found), len(self.added)
        before = self.prefix.copy()
        try:
            self._accept(einsum)
        except (Inseparable, TooLarge) as error:
            del self.found[found:], self.added[added:]
            self.prefix = before
            term, reason = einsum.value, "multiplied out it has too many terms"
            if isinstance(error, Inseparable):
                term, reason = error.expr, error.reason
            self.refusals.append(Refusal(einsum.tensor, term, reason))

    def _accept(self, einsum: Einsum) -> Read:
        """Derives one reduction; raises `Inseparable`."""
        value = einsum.value
        if not isinstance(value, Reduce):
            raise Inseparable(value, "it is no reduction")
        one = self._running(einsum, value)
        unstable(one, self.prefix)
        read = Read(einsum.tensor, tuple(Var(v) for v in einsum.variables))
        self.found.append(one)
        self.prefix.learn(one, read, value)
        return read

    def _running(self, einsum: Einsum, value: Reduce) -> Running:
        split = self.prefix.split
        read = Read(einsum.tensor, tuple(Var(v) for v in einsum.variables))
        if split.steady(value.body):
            return Plain(einsum.tensor, value.op, value.body)
        match value.op:
            case "sum":
                add = None if self.fresh is None else self._adder(einsum)
                anchors = Anchors(self.prefix, einsum, add, self.grid, free=self.anchored)
                terms = anchors(split.terms(value.body))
                basis = closed(terms, value.body)
                return Sum(einsum.tensor, basis, anchors.measured)
            case "max" | "min":
                outer = hoisted(value.body, split, self.prefix.signs)
                op = {"max": "min", "min": "max"}[value.op] if outer.turned else value.op
                return Extreme(einsum.tensor, op, outer.inner, outer.outer(read))
            case "prod" if all(t.phi.streamed and not t.phi.mixed for t in split.terms(value.body)):
                reason = "a power of an earlier result can overflow where the product does not"
                raise Inseparable(value.body, reason)
            case op:
                reason = f"{op} is derived only where no earlier result is in it"
                raise Inseparable(value.body, reason)

    def _adder(self, owner: Einsum) -> Callable[[str, Reduce, tuple[str, ...]], Read]:
        """What derives a further reduction for another one."""

        def add(base: str, value: Reduce, variables: tuple[str, ...]) -> Read:
            assert self.fresh is not None
            einsum = Einsum(self.fresh(base), tuple(map(Slot, variables)), value)
            read = self._accept(einsum)
            self.added.append(Added(einsum, owner.tensor))
            return read

        return add


__all__ = [
    "Added",
    "Around",
    "Derivation",
    "Extreme",
    "Plain",
    "Refusal",
    "Running",
    "Sum",
    "derive",
]
