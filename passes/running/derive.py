"""Running forms of the reductions over one or several streamed ranks.

A reduction `R = (+)_n F(x_n, r)` whose `F` holds earlier results `r` of the same stream is kept as
a state `Phi` that is right for the `r` of the points seen so far. When more points change `r`, the
state is brought along, `Phi <- T(r_old, r_new) Phi`, and the new points are added. The result is
`c(r) . Phi`. Two states of disjoint points merge in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Apply, Binary, Expr, Float, Int, Read, Reduce, Var
from attnc.ir.walk import FreeVariables, subexpressions
from attnc.passes.running.build import multiplied, total
from attnc.passes.running.closure import Basis, closed
from attnc.passes.running.monotone import hoisted
from attnc.passes.running.signs import Signs
from attnc.passes.running.terms import Inseparable, Phi, Splitter


@dataclass(frozen=True)
class Sum:
    """A sum whose basis is closed."""

    tensor: str
    basis: Basis

    @property
    def result(self) -> tuple[tuple[int, Expr], ...]:
        """Indices of basis functions with their coefficients `c(r)`."""
        return tuple(self.basis.coefficients.items())


@dataclass(frozen=True)
class Extreme:
    """A maximum or minimum of what is streamed alone, with a monotone function around it.

    `result` holds a read of the state, `Read(tensor, ...)` itself, where the extreme stands.
    """

    tensor: str
    op: str
    inner: Expr
    result: Expr


@dataclass(frozen=True)
class Plain:
    """A reduction of what holds no earlier result: any operation, no change of state."""

    tensor: str
    op: str
    body: Expr


Running: TypeAlias = Sum | Extreme | Plain


@dataclass(frozen=True)
class Refusal:
    """Why a reduction needs a pass of its own: the term, and the reason."""

    tensor: str
    term: Expr
    reason: str


@dataclass(frozen=True)
class Derivation:
    """The reductions that run in one pass, in order, and those that cannot."""

    running: tuple[Running, ...]
    refusals: tuple[Refusal, ...]


def derive(
    einsums: Sequence[Einsum], streamed: Iterable[str], extents: Iterable[str] = ()
) -> Derivation:
    """The running forms of reductions over the streamed rank variables.

    Each Einsum is one reduction, `R[...] = op[n](F)`, in an order in which they can be computed; an
    `F` may hold any of those before it.
    """
    found: list[Running] = []
    refusals: list[Refusal] = []
    names = frozenset(streamed)
    directions: dict[str, int | None] = {}
    signs: dict[str, int | None] = {}
    for einsum in einsums:
        knows = Signs(directions, signs, frozenset(extents))
        try:
            one = _running(einsum, names, frozenset(directions), knows)
            unstable(one, knows)
        except Inseparable as error:
            refusals.append(Refusal(einsum.tensor, error.expr, error.reason))
            continue
        found.append(one)
        directions[einsum.tensor], signs[einsum.tensor] = _moves(one, knows)
    return Derivation(tuple(found), tuple(refusals))


def _running(
    einsum: Einsum, streamed: frozenset[str], results: frozenset[str], signs: Signs
) -> Running:
    value = einsum.value
    if not isinstance(value, Reduce):
        raise Inseparable(value, "it is no reduction")
    split = Splitter(streamed, results, FreeVariables())
    read = Read(einsum.tensor, tuple(Var(v) for v in einsum.variables))
    if split.steady(value.body):
        return Plain(einsum.tensor, value.op, value.body)
    match value.op:
        case "sum":
            return Sum(einsum.tensor, closed(split.terms(value.body), value.body))
        case "max" | "min":
            outer = hoisted(value.body, split, signs)
            op = {"max": "min", "min": "max"}[value.op] if outer.turned else value.op
            return Extreme(einsum.tensor, op, outer.inner, outer.outer(read))
        case op:
            raise Inseparable(value.body, f"{op} is derived only where no earlier result is in it")


def _moves(one: Running, signs: Signs) -> tuple[int | None, int | None]:
    """Direction and sign of a result."""
    match one:
        case Plain(op="max"):
            return 1, 1 if signs.sign(one.body) == 1 else None
        case Plain(op="min"):
            return -1, 1 if signs.sign(one.body) == 1 else None
        case Plain(op="count"):
            return 1, 1  # of a point that is present, which is the only place where it is read
        case Plain(op="sum"):
            return 1 if signs.nonnegative(one.body) else None, signs.sign(one.body)
        case Plain():
            return None, None
        case Extreme():
            return None, None
        case Sum():
            terms = [multiplied(c, one.basis.functions[i].expr()) for i, c in one.result]
            return None, signs.sign(total(terms))


def unstable(one: Running, signs: Signs) -> None:
    """Raises `Inseparable` unless every factor of T is proved to be 1 or less, or is polynomial."""
    if not isinstance(one, Sum):
        return
    for row, phi in zip(one.basis.transition, one.basis.functions, strict=True):
        for shift in (s for entries in row.values() for entry in entries for s in entry.shifts):
            _may_be_zero(phi, shift.coordinate.steady, signs)
            direction = signs.direction(shift.coordinate.steady)
            if shift.function == "exp":
                grows = _sign(shift.exponent) * _base_direction(phi, shift.base)
                if direction is None or direction * grows > 0:
                    reason = "its exponential can grow while it runs, and overflow"
                    raise Inseparable(phi.expr(), reason)
            elif shift.coordinate.kind == "product":
                sign = signs.sign(shift.coordinate.steady)
                if sign is None or direction is None or direction * _sign(shift.exponent) > 0:
                    reason = "its scale can grow while it runs, or be zero"
                    raise Inseparable(phi.expr(), reason)


def _may_be_zero(phi: Phi, steady: Expr, signs: Signs) -> None:
    """Raises `Inseparable` where something is divided by a result that can be 0 on a prefix."""
    for node in subexpressions(steady):
        match node:
            case Binary(op="/", right=below) | Apply(function="log", arguments=(below,)):
                if signs.direction(below) != 0 and signs.sign(below) is None:
                    reason = "it divides by a result that can be 0 while it runs"
                    raise Inseparable(phi.expr(), reason)
            case _:
                pass


def _sign(number: Fraction) -> int:
    return 1 if number > 0 else -1


def _base_direction(phi: Phi, base: Expr | None) -> int:
    """1 for a base above 1, -1 for one below; raises `Inseparable` for one not known."""
    match base:
        case None:
            return 1
        case Int(value=value) | Float(value=value) if value > 0:
            return 1 if value > 1 else -1
        case _:
            raise Inseparable(phi.expr(), "its base is not known to be above 1")
