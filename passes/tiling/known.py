"""Fills that change nothing: the value is known to be the filling already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Constant
from attnc.ir.expr import Binary, Bool, Choice, Expr, Float, Int, Name, Unary
from attnc.ir.tiles import Dot, Fold, Kernel, Loop, Map, Plan, Scan, Statement
from attnc.ir.tiles_walk import expressions, names, statements, targets, with_body
from attnc.passes.tiling import classes
from attnc.passes.tiling.classes import EXACT, NO, YES
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.evaluate import Evaluator, steady


@dataclass(frozen=True)
class Known:
    """Drops fills of what reductions and products combine, where they are proved to be there.

    Scores that are filled with minus infinity have weights that are 0, as long as what they are
    relative to is not minus infinity, too.
    """

    name: str = field(default="known", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_kernel(plan, kernel) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _kernel(plan: Plan, kernel: Kernel) -> Kernel:
    context = Context(plan, kernel)
    combined = _combined(context)

    same: dict[str, str] = {}

    def change(item: Statement) -> Iterator[Statement]:
        match item:
            case Fold(value=Choice() as value, over=over) if item.op not in ("argmax", "argmin"):
                yield replace(item, value=without_fill(context, value, frozenset(over)))
            case Scan(value=Choice() as value, over=axis):
                yield replace(item, value=without_fill(context, value, frozenset((axis,))))
            case Map(value=Choice() as value, target=target) if combined.get(target):
                found = without_fill(context, value, combined[target])
                if isinstance(found, Name):
                    same[target] = found.name
                else:
                    yield replace(item, value=found)
            case Dot(left=left, right=right):
                yield replace(item, left=same.get(left, left), right=same.get(right, right))
            case _:
                yield item

    found = with_body(kernel, change)
    return kernel if found == kernel else found


def _combined(context: Context) -> dict[str, frozenset[str]]:
    """Tiles that nothing but products read, with the axes that all of these combine."""
    over: dict[str, frozenset[str]] = {}
    others: set[str] = set()
    for item in statements(context.kernel.body):
        if isinstance(item, Dot):
            for name in {item.left, item.right}:
                over[name] = over.get(name, frozenset(item.over)) & frozenset(item.over)
        else:
            others |= names(*expressions(item))
    return {name: axes for name, axes in over.items() if name not in others}


def without_fill(context: Context, value: Choice, away: frozenset[str]) -> Expr:
    """`x if p else c` as `x`, if `x` is `c` wherever `p` does not hold."""
    fill = constant(value.other)
    if not away & context.varies(value) <= context.varies(value.then):
        return value  # what is combined has lanes because of where it is present
    if fill is None or not is_filled(context, value.then, value.condition, fill, away):
        return value
    return value.then


def constant(expr: Expr) -> Constant | None:
    """The number that a literal is."""
    match expr:
        case Int(value=value) | Float(value=value) | Bool(value=value):
            return value
        case Binary(op="-", left=Unary(op="-", operand=Int(value=value)), right=Int(value=1)):
            return -value - 1  # the least integers have no literal
        case Unary(op="-", operand=Int(value=value) | Float(value=value)):
            return -value
        case _:
            return None


def is_filled(
    context: Context, value: Expr, predicate: Expr, fill: Constant, away: frozenset[str]
) -> bool:
    """Whether a value is that number in each lane where a predicate does not hold.

    A lane fails a condition that varies along `away`, while its row is sound; or all of its row
    fails one that does not, in every round of every loop.
    """
    wanted = classes.of_constant(fill)
    if wanted not in (*EXACT, YES, NO):
        return False
    conditions = context.conditions(predicate)
    lane = frozenset(c for c in conditions if context.varies(c) & away)
    if lane and Evaluator(context, away, lane)(value) != wanted:
        return False
    for condition in sorted(conditions - lane, key=repr):
        if not _lasting(context, condition):
            return False
        failed = Evaluator(context, away, frozenset((condition,)), row=True, clean=False)
        if within(context, failed)(value) != wanted:
            return False
    return True


def _lasting(context: Context, condition: Expr) -> bool:
    """Whether a condition is the same in every round of every loop."""
    loops = [s for s in statements(context.kernel.body) if isinstance(s, Loop)]
    if context.varies(condition) & {loop.axis for loop in loops}:
        return False
    inner = {n for loop in loops for s in (loop, *statements(loop.body)) for n in targets(s)}
    return not names(condition) & inner


def within(context: Context, evaluate: Evaluator) -> Evaluator:
    """The evaluator that knows which carried tiles stay, whatever the loop."""
    return steady(evaluate, [carry for carry, _ in context.carried.values()])
