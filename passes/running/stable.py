"""Whether a running form is as stable as what is written.

On every prefix, whatever the points are: an exponential must be bounded, and so must what T
multiplies it with; a scale must bound what it scales; and nothing may be divided by what can be 0.
Polynomial factors of T are dealt with by the choice of anchors.
"""

from __future__ import annotations

from fractions import Fraction

from attnc.ir.expr import Binary, Expr, Float, Int, Value
from attnc.ir.walk import subexpressions
from attnc.passes.running.bounds import Conditions, stripped
from attnc.passes.running.build import negated
from attnc.passes.running.closure import Shift
from attnc.passes.running.forms import Running, Sum
from attnc.passes.running.prefix import Prefix, conditions
from attnc.passes.running.terms import Inseparable, Phi


def unstable(one: Running, prefix: Prefix) -> None:
    """Raises `Inseparable` unless every factor of T, and what it multiplies, is proved bounded."""
    if not isinstance(one, Sum):
        return
    for row, phi in zip(one.basis.transition, one.basis.functions, strict=True):
        where = conditions(phi)
        shifts = {s: None for entries in row.values() for entry in entries for s in entry.shifts}
        for shift in shifts:
            # an exponential is 0 while what it is relative to is infinite
            steady, exponential = shift.coordinate.steady, shift.function == "exp"
            reason = prefix.unsafe_reason(steady, logarithms=exponential)
            if reason is not None:
                raise Inseparable(phi.expr(), reason)
            if exponential:
                _exponential(shift, phi, where, prefix)
            elif shift.coordinate.kind == "product":
                _scale(shift, phi, where, prefix)


def _exponential(shift: Shift, phi: Phi, where: Conditions, prefix: Prefix) -> None:
    grows = _sign(shift.exponent) * _base_direction(phi, shift.base, prefix)
    y = shift.coordinate
    steady = y.steady if grows > 0 else negated(y.steady)
    if not prefix.bounds.falls(steady):
        values = [e.name for e in subexpressions(steady) if isinstance(e, Value)]
        unknown = [v for v in values if prefix.signs.sign(Value(v)) is None]
        if unknown:
            reason = (
                f"its exponential can grow while it runs: the sign of {unknown[0]} is not known"
            )
            raise Inseparable(phi.expr(), reason)
        raise Inseparable(phi.expr(), "its exponential can grow while it runs, and overflow")
    if prefix.may_cancel_infinities(y.steady):
        raise Inseparable(phi.expr(), "its exponent can be inf - inf while it runs")
    value, inside = stripped(y.expr())
    exponent = prefix.bounds.exact(value).scaled(Fraction(grows))
    if not prefix.bounds.bounded(exponent, where | inside):
        reason = "its exponential can overflow while it runs: nothing bounds what is streamed in it"
        raise Inseparable(phi.expr(), reason)


def _scale(shift: Shift, phi: Phi, where: Conditions, prefix: Prefix) -> None:
    y, signs = shift.coordinate, prefix.signs
    sign, direction = signs.sign(y.steady), signs.direction(y.steady)
    if sign is None or direction is None or direction * sign * _sign(shift.exponent) > 0:
        raise Inseparable(phi.expr(), "its scale can grow while it runs, or be zero")
    streamed, inside = stripped(y.streamed)
    scale = prefix.bounds.exact(y.steady if sign > 0 else negated(y.steady))
    bounded = prefix.bounds.within(streamed, scale, where | inside)
    if shift.exponent < 0 or not bounded:
        raise Inseparable(phi.expr(), "its scale is not known to bound what it scales")


def _sign(number: Fraction) -> int:
    return 1 if number > 0 else -1


def _base_direction(phi: Phi, base: Expr | None, prefix: Prefix) -> int:
    """1 for a base above 1, -1 for one below; raises `Inseparable` for one not known."""
    match base:
        case None:
            return 1
        case Int(value=value) | Float(value=value) if value > 0 and value != 1:
            return 1 if value > 1 else -1
        case Binary(op="/", left=Int(value=1) | Float(value=1.0), right=below):
            return -_base_direction(phi, below, prefix)
        case _ if not prefix.moves(base) and prefix.signs.least(base) > 1:
            return 1
        case Value(name=name) if prefix.signs.sign(base) == 1 and prefix.most.get(name, 1.0) < 1:
            return -1
        case _:
            raise Inseparable(phi.expr(), "its base is not known to be above 1")
