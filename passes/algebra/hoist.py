"""Factors that do not vary along a sum leave it; divisors do too, so that the division is last."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnc.ir import printer
from attnc.ir.cascade import Einsum, Statement
from attnc.ir.expr import Apply, Binary, Expr, Reduce, Scan, Unary
from attnc.ir.facts import Facts
from attnc.ir.types import Kind, Type
from attnc.ir.walk import FreeVariables, children, rebuild
from attnc.passes.algebra.magnitude import Magnitude
from attnc.passes.algebra.program import Remark, Tell, ignore, rewritten, singles, typing


@dataclass(frozen=True)
class Hoist:
    """`sum[n](a * x)` becomes `a * sum[n](x)` where `a` is free of `n`; so do `x / a` and `-x`.

    Why this is equal, with absence. Where `a` is absent, so is every `a * x`, hence the sum, and
    so is `a` times anything. Where `a` is present, `a * x` is present exactly where `x` is, and the
    sum of the products is `a` times the sum of those `x`. Of no present `x`, or of an empty rank,
    both sums are absent. The same holds of a mean and of a running sum, point by point, and within
    `only(x, c)`: multiplying by a present `a` changes nothing of where that is present. Conditions
    of the statement are about its points, and stay.

    What is refused, each as a remark:

    - integers that wrap in 32 bits before they are added in 64, or that are rounded: only i64
      products are taken apart, which wrap alike, and no mean of integers;
    - a sum that would then be computed in a narrower type, or be one of integers;
    - an exponential, while another stays, unless it is one of `x - max(x)`: their product may be
      moderate where neither is.

    Numbers: each term is computed without `a`; the sum may be larger than the written one by up to
    `1 / |a|`, which costs range and no precision. A sum in which nothing varies is left.
    """

    name: str = field(default="hoist", init=False)

    def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
        alone, hoisting = singles(facts), _Hoisting(facts, tell)
        statements: list[Statement] = []
        for statement in facts.cascade.statements:
            if isinstance(statement, Einsum) and statement.tensor in alone:
                statements.append(hoisting.einsum(statement))
            else:
                statements.append(statement)
        return rewritten(facts, statements)


@dataclass(frozen=True)
class _Parts:
    """A product: what stays in the sum, and what does not vary along it."""

    inside: Expr
    factors: tuple[Expr, ...] = ()
    divisors: tuple[Expr, ...] = ()
    negative: bool = False


class _Hoisting:
    def __init__(self, facts: Facts, tell: Tell) -> None:
        self.facts = facts
        self.tell = tell
        self.types = typing(facts)
        self.free = FreeVariables()
        self.alone = singles(facts)
        einsums = {e.tensor: e for e in facts.cascade.einsums if e.tensor in self.alone}
        self.magnitude = Magnitude(einsums, facts.variables)
        self.user: Einsum

    def einsum(self, einsum: Einsum) -> Einsum:
        """A statement with the factors of its sums hoisted."""
        self.user = einsum
        value, where = self._walk(einsum.value), tuple(self._walk(c) for c in einsum.where)
        return replace(einsum, value=value, where=where)

    def _walk(self, expr: Expr) -> Expr:
        inner = rebuild(expr, tuple(self._walk(c) for c in children(expr)))
        match inner:
            case Reduce(op="sum" | "mean", variables=variables, body=body):
                return self._hoisted(inner, body, frozenset(variables))
            case Scan(op="cumsum", variable=variable, body=body):
                return self._hoisted(inner, body, frozenset((variable,)))
            case _:
                return inner

    def _hoisted(self, node: Reduce | Scan, body: Expr, variables: frozenset[str]) -> Expr:
        if self._steady(body, variables):
            return node
        parts = self._without_balance(self._parts(body, variables))
        if not (parts.factors or parts.divisors or parts.negative):
            return node
        summed = replace(node, body=parts.inside)
        result: Expr = summed
        for factor in reversed(parts.factors):
            result = Binary("*", factor, result, node.span)
        for divisor in parts.divisors:
            result = Binary("/", result, divisor, node.span)
        if parts.negative:
            result = Unary("-", result, node.span)
        reason = self._refusal(node, body, parts, result)
        moved = ", ".join(printer.expression(e) for e in (*parts.factors, *parts.divisors)) or "-"
        if reason is not None:
            self._tell(f"{moved} stays in {_operation(node)}: {reason}")
            return node
        self._tell(f"{moved} leaves {_operation(node)}")
        return result

    def _tell(self, text: str) -> None:
        self.tell(Remark("hoist", self.user.tensor, text, self.user.span))

    def _parts(self, expr: Expr, variables: frozenset[str]) -> _Parts:
        """An expression that varies along the sum, taken apart."""
        match expr:
            case Unary(op="-", operand=operand):
                parts = self._parts(operand, variables)
                return replace(parts, negative=not parts.negative)
            case Binary(op="*", left=left, right=right):
                a = None if self._steady(left, variables) else self._parts(left, variables)
                b = None if self._steady(right, variables) else self._parts(right, variables)
                if a is None or b is None:
                    rest = a or b
                    assert rest is not None
                    factor = left if a is None else right
                    return replace(rest, factors=(factor, *rest.factors))
                inside = rebuild(expr, (a.inside, b.inside))
                factors, divisors = a.factors + b.factors, a.divisors + b.divisors
                return _Parts(inside, factors, divisors, a.negative != b.negative)
            case Binary(op="/", left=left, right=right) if not self._steady(left, variables):
                parts = self._parts(left, variables)
                if self._steady(right, variables):
                    return replace(parts, divisors=(*parts.divisors, right))
                return replace(parts, inside=rebuild(expr, (parts.inside, right)))
            case Apply(function="only", arguments=(value, condition)):
                if self._steady(value, variables):
                    return _Parts(expr)
                parts = self._parts(value, variables)
                return replace(parts, inside=rebuild(expr, (parts.inside, condition)))
            case _:
                return _Parts(expr)

    def _steady(self, expr: Expr, variables: frozenset[str]) -> bool:
        return not self.free(expr) & variables

    def _without_balance(self, parts: _Parts) -> _Parts:
        """The same with exponentials left inside where another one is."""
        if not self.magnitude.unbounded(parts.inside):
            return parts
        inside = parts.inside
        moved: list[Expr] = []
        for factor in parts.factors:
            if self.magnitude.unbounded(factor):
                inside = Binary("*", factor, inside, factor.span)
            else:
                moved.append(factor)
        divisors: list[Expr] = []
        for divisor in parts.divisors:
            if self.magnitude.unbounded(divisor):
                inside = Binary("/", inside, divisor, divisor.span)
            else:
                divisors.append(divisor)
        if inside is parts.inside:
            return parts
        if not moved and not divisors:  # as it was written
            self._tell("an exponential stays beside another one in a sum")
            return _Parts(parts.inside)
        return replace(parts, inside=inside, factors=tuple(moved), divisors=tuple(divisors))

    def _refusal(self, node: Expr, body: Expr, parts: _Parts, result: Expr) -> str | None:
        """Why taking a product apart would change more than rounding."""
        whole, inside = self.types(body), self.types(parts.inside)
        if not whole.kind.floating:
            if whole.kind is not Kind.I64 or parts.divisors or _is_mean(node):
                return "integers that are narrower than their sum, or divided, wrap otherwise"
        elif not _as_wide(inside, whole):
            return "the sum would be computed in a narrower type"
        if self.types(result) != self.types(node):
            return "the type would be another"
        return None


def _as_wide(inside: Type, whole: Type) -> bool:
    return inside.kind.floating and inside.kind >= whole.kind


def _is_mean(node: Expr) -> bool:
    return isinstance(node, Reduce) and node.op == "mean"


def _operation(node: Reduce | Scan) -> str:
    names = ",".join(node.variables) if isinstance(node, Reduce) else node.variable
    return f"{node.op}[{names}]"
