"""What is not finite reaches those alone who read it.

In a product of tiles, lanes that do not count are 0 on one side, and 0 times NaN or infinity is
NaN. So a row that leaves a key out would be spoilt by what lies there, if another row of its tile
reads that key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Float, Int, Name, Unary
from attnc.ir.tiles import Carry, Dot, Fold, If, Kernel, Load, Map, Plan, Statement
from attnc.ir.tiles_walk import with_body
from attnc.ir.types import Kind
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import TRUE, both, conjuncts, either, negation

INFINITY: Final = Float(float("inf"))
CASTS: Final = {Kind.F32: "f32", Kind.FLOAT: "float", Kind.F64: "f64"}


@dataclass(frozen=True)
class Confine:
    """Products are made of finite operands; what is not finite is added where it is read.

    An operand that lanes leave out for the sake of the other one is 0 where it is not finite. If a
    tile has such a point, those that count are counted, by a product of zeros and ones, and so are
    their signs: the sum is infinite if all agree, and NaN if not. It runs while predicates are
    there. An operand that is rounded is finite after that.
    """

    name: str = field(default="confine", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_Confiner(plan, kernel).confined() for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


class _Confiner:
    """Confines what one kernel's products read."""

    def __init__(self, plan: Plan, kernel: Kernel) -> None:
        self.kernel: Kernel = kernel
        self.context: Context = Context(plan, kernel)
        self.inputs: frozenset[str] = frozenset(i.name for i in plan.inputs if i.element is None)

    def confined(self) -> Kernel:
        """The kernel."""
        return with_body(self.kernel, self._statement)

    def _statement(self, item: Statement) -> Iterator[Statement]:
        loose = [s for s in (0, 1) if self._loose(item, s)] if isinstance(item, Dot) else []
        if not isinstance(item, Dot) or not loose:
            yield item
            return
        context, sides = self.context, [item.left, item.right]
        odd: Expr = negation(TRUE)
        for side in dict.fromkeys(loose):
            name = sides[side]
            value = self._rounded(Choice(self._finite(name), Name(name), Int(0)), name)
            clean = context.map(f"{name}_f", value)
            some = self._some(item, name)
            yield from (clean, some)
            sides[side] = clean.target
            odd = either(odd, Name(some.target))
        product = replace(item, target=context.fresh(f"{item.target}_f"))
        product = replace(product, left=sides[0], right=sides[1])
        context.add([product])
        yield product
        body: list[Statement] = []
        count, signs = (self._total(item, loose, body, signed) for signed in (False, True))
        up = Choice(Compare((">",), (signs, Unary("-", count))), INFINITY, Int(0))
        down = Choice(Compare(("<",), (signs, count)), Unary("-", INFINITY), Int(0))
        total = Binary("+", Binary("+", Name(product.target), up), down)
        carry = Carry(item.target, item.axes, item.kind, Name(product.target), total)
        yield If(odd, tuple(body), (carry,))

    def _loose(self, item: Dot, side: int) -> bool:
        """Whether some lane of an operand may be left out only by a 0 of the other one."""
        name = (item.left, item.right)[side]
        context, own = self.context, frozenset(self.context.axes[name])
        spans = (context.varies(p) for p in conjuncts(item.where))
        over = frozenset(item.over)
        return not self._always_finite(Name(name)) and any(s & over and not s <= own for s in spans)

    def _always_finite(self, value: Expr) -> bool:
        """Whether an operand is made of integers, or of what is finite already."""
        match value:
            case Name(name=name):
                item = self.context.defined.get(name)
                known = isinstance(item, Map) and self._always_finite(item.value)
                return known or not self.context.kinds[name].floating
            case Apply(function="rounded", arguments=(inner,)):
                return self._always_finite(inner)
            case Apply(function="float" | "f32" | "f64", arguments=(inner,)):
                return not self.context.kind(inner).floating
            case Choice(condition=Compare(ops=("<",), operands=(_, bound))):
                return bound == INFINITY and value.other == Int(0)
            case _:
                return False

    def _finite(self, name: str) -> Expr:
        """That a lane of an operand is finite, when it is rounded."""
        value: Expr = Name(name)
        match self.context.defined.get(name):
            case Load(tensor=tensor) if tensor in self.inputs:
                pass
            case Map(value=Apply(function="rounded")):
                pass
            case _:
                value = self._rounded(value, name)
        return Compare(("<",), (Apply("abs", (value,)), INFINITY))

    def _rounded(self, value: Expr, name: str) -> Expr:
        """An operand in place of another one, in the type that one has."""
        kind = self.context.kinds[name]
        return Apply("rounded", (value,)) if kind is Kind.FLOAT else value

    def _number(self, value: Expr, item: Dot) -> Expr:
        """Small integers as an operand."""
        cast = Apply(CASTS[item.kind], (value,))
        return Apply("rounded", (cast,)) if item.kind is Kind.FLOAT else cast

    def _some(self, item: Dot, name: str) -> Fold:
        """Whether any lane of an operand that may count is not finite."""
        context, axes = self.context, self.context.axes[name]
        own = (p for p in conjuncts(item.where) if context.varies(p) <= frozenset(axes))
        where = both(context.valid(axes), *own)
        value = negation(self._finite(name))
        some = Fold(context.fresh("odd"), (), Kind.BOOL, "any", axes, value, where)
        context.add([some])
        return some

    def _total(self, item: Dot, loose: list[int], body: list[Statement], signed: bool) -> Expr:
        """How many lanes that count are not finite; or the sum of the signs of those products."""
        sides = (item.left, item.right)
        found: Expr | None = None
        for side in loose:
            odd, other = Name(sides[side]), Name(sides[1 - side])
            here: Expr = Choice(self._finite(odd.name), Int(0), Int(1))
            beside: Expr = Choice(self.context.valid(item.over), Int(1), Int(0))
            if signed:
                here = _sign(odd, INFINITY, "==")
                beside = _sign(other, Int(0), ">")
            pair = [self.context.map("w", self._number(v, item)) for v in (here, beside)]
            left, right = pair if side == 0 else reversed(pair)
            axes = self.context.varies(Name(left.target), Name(right.target), item.where)
            product = replace(
                item,
                target=self.context.fresh("signs" if signed else "odds"),
                axes=self.context.sorted(axes - frozenset(item.over)),
                left=left.target,
                right=right.target,
            )
            self.context.add([product])
            body += [*pair, product]
            one = Name(product.target)
            found = one if found is None else Binary("+", found, one)
        assert found is not None
        return found


def _sign(value: Name, bound: Expr, op: str) -> Expr:
    """1 where a value compares so with a bound, -1 where its negative does, else 0."""
    above = Compare((op,), (value, bound))  # type: ignore[arg-type]
    below = Compare((op,), (Unary("-", value), bound))  # type: ignore[arg-type]
    return Choice(above, Int(1), Choice(below, Unary("-", Int(1)), Int(0)))
