"""Functions of coordinates alone: computed once, before, for all programs that need them.

What is made of nothing but coordinates, sizes and parameters, such as the angles by which positions
turn, is the same in each program along the axes that it does not mention. Where it takes a
function, a kernel before writes a table of it, which is read as any other tensor; it grows with one
rank, as inputs do, and not with a product of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.ir.expr import Apply, Binary, Expr, Int, Name, Value, Var
from attnc.ir.functions import FUNCTIONS
from attnc.ir.tiles import AxisKind, Buffer, If, Kernel, Load, Loop, Map, Plan, Statement, Store
from attnc.ir.tiles_walk import expressions, mapped, names, rewritten, statements
from attnc.ir.types import Kind
from attnc.ir.walk import children, subexpressions
from attnc.passes.tiling import naming
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.dead import without_dead
from attnc.passes.tiling.guards import replaced
from attnc.passes.tiling.presence import TRUE

CHEAP: Final = frozenset(("sqrt", "rsqrt"))
"""Functions that processors have an instruction for."""
OF_TILES: Final = frozenset(("low", "high", "tile", "within", "rounded"))
"""What a program may see otherwise than another one."""
_PARALLEL: Final[Mapping[AxisKind, AxisKind]] = {"par": "par", "stream": "par", "whole": "whole"}
"""How a kernel that writes a table has an axis of the one that reads it."""


@dataclass(frozen=True)
class Tables:
    """Functions of coordinates that several programs would compute become tables.

    `t[n,e] = cos(n * base ** e)` first becomes `u[e] = base ** e` and `t[n,e] = cos(n * u)`: what
    varies along fewer axes is computed for these alone. Then `t` is a table, if the kernel has a
    parallel axis beside `n` and `e`: one of these goes tile by tile, and one at most is held whole.
    A number of rows alone, which programs compute once, is none. Values stay, to the bit: what is
    read in the kernel's floating type alone is stored in that.
    """

    name: str = field(default="tables", init=False)

    def __call__(self, plan: Plan) -> Plan:
        parted = tuple(_kernel(plan, kernel) for kernel in plan.kernels)
        if parted != plan.kernels:
            plan = replace(plan, kernels=parted)
        for kernel in plan.kernels:
            plan = _tabled(plan, Context(plan, kernel))
        return plan


# What varies along fewer axes


def _kernel(plan: Plan, kernel: Kernel) -> Kernel:
    body = tuple(_parted(Context(plan, kernel), kernel.body, {}))
    return kernel if body == kernel.body else replace(kernel, body=body)


def _parted(
    context: Context, body: Iterable[Statement], known: Mapping[Expr, Expr]
) -> Iterator[Statement]:
    """Statements with functions of coordinates that vary less than what reads them before these."""
    known = dict(known)
    for item in body:
        if isinstance(item, Loop | If):
            yield replace(item, body=tuple(_parted(context, item.body, known)))
        elif isinstance(item, Map):
            for part in _parts(context, item):
                if part not in known:
                    name, kind = context.fresh("u"), context.kind(part)
                    axes = context.sorted(context.varies(part))
                    made = Map(name, axes, kind, part)
                    context.add([made])
                    known[part] = Name(name)
                    yield made
            yield replace(item, value=replaced(item.value, known))
        else:
            yield item


def _parts(context: Context, item: Map) -> Iterator[Expr]:
    """The largest functions of coordinates in a value that vary along fewer axes than that."""
    stack = [item.value]
    while stack:
        node = stack.pop()
        along = context.varies(node)
        if not along:
            continue  # a number, which is computed once in any case
        if along < {*item.axes} and _costly(node) and _of_coordinates(context, node):
            yield node
        else:
            stack += children(node)


def _costly(expr: Expr) -> bool:
    """Whether an expression is a function or a power."""
    match expr:
        case Binary(op="**", right=right):
            return not isinstance(right, Int)
        case Apply(function=name):
            found = FUNCTIONS.get(name)
            return found is not None and found.rule == "float" and name not in CHEAP
        case _:
            return False


def _of_coordinates(context: Context, expr: Expr) -> bool:
    """Whether every program finds the same: nothing loaded or carried is in it."""
    for node in subexpressions(expr):
        match node:
            case Name(name=name):
                item = context.defined.get(name)
                if not isinstance(item, Map) or not _of_coordinates(context, item.value):
                    return False
            case Apply(function=name) if name in OF_TILES:
                return False
            case Value(name=name) if name in context.lets:
                return False
            case Var(name=name) if name in context.coords or name in context.steps:
                return False
            case _:
                pass
    return True


# What becomes a table


def _tabled(plan: Plan, context: Context) -> Plan:
    """The plan in which a kernel reads tables that others before it write."""
    reader = context.kernel
    loads: dict[str, Load] = {}
    written: dict[tuple[str, ...], list[Statement]] = {}
    for item in _maps(reader.body):
        if not _worthwhile(context, item):
            continue
        index, inside = tuple(map(Var, item.axes)), context.valid(item.axes)
        kind = Kind.FLOAT if _read_as_float(reader, item.target) else item.kind
        name = naming.tensor(plan, f"{item.axes[0]}_table")
        buffer = Buffer(name, tuple(reader.axis(a).size for a in item.axes), kind, "all")
        plan = replace(plan, buffers=(*plan.buffers, buffer))
        loads[item.target] = Load(item.target, item.axes, kind, name, index, inside)
        value = Name(item.target) if kind is item.kind else Apply("float", (Name(item.target),))
        body = written.setdefault(item.axes, [])
        body += [s for s in _needed(context, item) if s not in body]
        body.append(Store(name, index, value, TRUE, 0, inside))
    for axes, body in written.items():
        own = (replace(a, kind=_PARALLEL[a.kind], tile="") for a in map(reader.axis, axes))
        writer = Kernel(naming.kernel(plan, f"{reader.name}_{axes[0]}"), tuple(own), tuple(body))
        plan = replace(plan, kernels=_before(plan.kernels, reader.name, writer))
    if loads:
        last = _reading(reader, loads)
        kernels = tuple(last if k.name == reader.name else k for k in plan.kernels)
        plan = replace(plan, kernels=kernels)
    return plan


def _before(kernels: Iterable[Kernel], name: str, more: Kernel) -> tuple[Kernel, ...]:
    """Kernels with another one before that of a name."""
    return tuple(k for old in kernels for k in ((more, old) if old.name == name else (old,)))


def _maps(body: Iterable[Statement]) -> Iterator[Map]:
    return (s for s in statements(body) if isinstance(s, Map))


def _worthwhile(context: Context, item: Map) -> bool:
    """Whether several programs compute many lanes of a function, along one long axis."""
    axes = [context.kernel.axis(a) for a in item.axes]
    long = [a for a in axes if a.kind != "whole"]
    others = {a.name for a in context.kernel.axes if a.kind == "par"} - {*item.axes}
    return (
        len(long) == 1
        and len(axes) <= 2
        and (long[0].kind == "stream" or len(axes) == 2)
        and bool(others)
        and any(map(_costly, subexpressions(item.value)))
        and _of_coordinates(context, item.value)
    )


def _read_as_float(kernel: Kernel, target: str) -> bool:
    """Whether a tile is read in the kernel's floating type alone."""
    read = Name(target)
    nodes = [n for s in statements(kernel.body) for e in expressions(s) for n in _nodes(e)]
    return nodes.count(read) == nodes.count(Apply("float", (read,)))


def _nodes(expr: Expr) -> Iterator[Expr]:
    """Every node of an expression, as often as it is there."""
    yield expr
    for child in children(expr):
        yield from _nodes(child)


def _needed(context: Context, item: Map) -> Iterator[Map]:
    """A map behind those that it is made of."""
    for name in sorted(names(item.value)):
        before = context.defined[name]
        assert isinstance(before, Map)
        yield from _needed(context, before)
    yield item


def _reading(kernel: Kernel, loads: Mapping[str, Load]) -> Kernel:
    """A kernel that loads what it computed; what that was made of goes if nothing else reads it."""
    read: dict[Expr, Expr] = {
        Apply("float", (Name(n),)): Name(n) for n, load in loads.items() if load.kind is Kind.FLOAT
    }

    def change(item: Statement) -> tuple[Statement, ...]:
        if isinstance(item, Map) and item.target in loads:
            return (loads[item.target],)
        return (mapped(item, lambda e: replaced(e, read)),)

    return without_dead(replace(kernel, body=rewritten(kernel.body, change)))
