"""Level-1 expressions as statements on tiles.

A `Block` collects the statements of one scope: a kernel's prologue, the body of its loop, what
follows it. Equal expressions become one tile. What does not vary along the streamed axis goes to
the block outside.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

from attnc.ir.comparisons import pairs
from attnc.ir.expr import (
    Absent,
    Apply,
    Arg,
    Binary,
    Bool,
    Call,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
    Read,
    Reduce,
    Scan,
    TopK,
    Unary,
    Value,
    Var,
)
from attnc.ir.facts import Facts
from attnc.ir.tile_types import TileTypes
from attnc.ir.tiles import Dot, Fold, Load, Map, Statement
from attnc.ir.tiles import Scan as Scan_
from attnc.ir.tiles import TopK as TopK_
from attnc.ir.types import Kind, Origin, Type, arithmetic, number
from attnc.ir.typing import Types
from attnc.ir.walk import FreeVariables, children, rebuild, subexpressions
from attnc.passes.running.build import added
from attnc.passes.tiling.presence import (
    FALSE,
    TRUE,
    Valued,
    both,
    chosen,
    conjunction,
    disjunction,
    either,
    negation,
    nonzero,
    quotient_guard,
)
from attnc.passes.tiling.products import grows, sides

CASTS: Final = {
    Kind.BOOL: "bool",
    Kind.I32: "i32",
    Kind.I64: "i64",
    Kind.F32: "f32",
    Kind.FLOAT: "float",
    Kind.F64: "f64",
}
INTEGERS: Final = {"i32": Kind.I32, "i64": Kind.I64}


class NotLowered(Exception):
    """A term that tiles cannot do yet; holds it and says what it is."""

    def __init__(self, expr: Expr, reason: str) -> None:
        super().__init__(reason)
        self.expr: Expr = expr
        self.reason: str = reason


@dataclass
class Scope:
    """What all blocks of a kernel share: names, kinds and axes of tiles, the order of axes."""

    facts: Facts
    order: tuple[str, ...]
    kinds: dict[str, Kind] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    """Of tiles that are computed without any tensor: these do not widen what they meet."""
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    results: dict[str, Valued] = field(default_factory=dict)
    """Results of running reductions, as they stand where they are read."""
    storage: Mapping[str, str] = field(default_factory=dict[str, str])
    """The buffers of tensors that are stored under another name."""
    steps: frozenset[str] = frozenset()
    """Variables that are numbers, not axes: a loop goes through them one by one."""
    elements: dict[str, str | None] = field(default_factory=dict[str, str | None])
    """The element types of inputs that tiles are loaded from; None is the kernel's own."""
    exponentials: set[str] = field(default_factory=set[str])
    """Tiles that are exponentials, or products with one."""
    used: set[str] = field(default_factory=set)
    free: FreeVariables = field(default_factory=FreeVariables)

    def kind(self, expr: Expr) -> Kind:
        """The kind of an expression over tiles."""
        return self.type(expr).kind

    def type(self, expr: Expr) -> Type:
        """The type of an expression over tiles."""
        return TileTypes(self.facts.values, self.facts.types, self.kinds, self.origins)(expr)

    def declared(self, expr: Expr) -> Type:
        """The type of an expression where every tile counts as a tensor, as in a plan."""
        return TileTypes(self.facts.values, self.facts.types, self.kinds)(expr)

    def level1(self, expr: Expr) -> Type:
        """The type of a level-1 expression."""
        return Types(self.facts.values, dict[str, Type | None](self.facts.types))(expr)

    def number(self, expr: Expr) -> Type:
        """The same, as a number."""
        return number(self.level1(expr))

    def fresh(self, base: str) -> str:
        """A new name that begins like `base`; values, axes and tiles are of one namespace."""
        name, number = base, 1
        while name in self.used or name in self.facts.variables or name in self.facts.values:
            number += 1
            name = f"{base}{number}"
        self.used.add(name)
        return name

    def size(self, variable: str) -> Expr:
        """The extent of a variable."""
        return self.facts.variables[variable]

    def valid(self, variables: tuple[str, ...]) -> Expr:
        """That lanes lie within the extents of these axes."""
        axes = (v for v in variables if v not in self.steps)
        return both(*(Compare(("<",), (Var(v), self.size(v))) for v in axes))

    def axes_of(self, *exprs: Expr) -> tuple[str, ...]:
        """The axes along which expressions over tiles vary, in order."""
        found: set[str] = set()
        for expr in exprs:
            for node in subexpressions(expr):
                match node:
                    case Var(name=name):
                        found.add(name)
                    case Name(name=name):
                        found |= set(self.axes[name])
                    case _:
                        pass
        return tuple(v for v in self.order if v in found)


@dataclass
class Block:
    """The statements of one scope.

    Its tiles vary along `inside` the axes that only it has; anything else is left to `outer`.
    """

    scope: Scope
    outer: Block | None = None
    inside: frozenset[str] = frozenset()
    volatile: frozenset[str] = frozenset()
    """Results that change within this block."""
    statements: list[Statement] = field(default_factory=list)
    known: dict[Expr, Valued] = field(default_factory=dict)
    tiles: dict[tuple[str, tuple[Expr, ...]], str] = field(default_factory=dict)

    def __call__(self, expr: Expr) -> Valued:
        """The value and presence of a level-1 expression over inputs and results."""
        if self.outer is not None and not self._own(expr):
            return self.outer(expr)
        found = self.known.get(expr)
        if found is None:
            found = self.known[expr] = self._lower(expr)
        return found

    def again(self, expr: Expr) -> Valued:
        """The same without what is known: results stand for something else for the moment."""
        known, self.known = self.known, {}
        try:
            return self._lower(expr)
        finally:
            self.known = known

    def _own(self, expr: Expr) -> bool:
        """Whether an expression varies along the axes of this block, or with its results."""
        if self.scope.free(expr) & self.inside:
            return True
        reads = (e.tensor for e in subexpressions(expr) if isinstance(e, Read))
        return not self.volatile.isdisjoint(reads)

    def tile(self, value: Expr, base: str) -> Name:
        """A value as a tile of its own."""
        if isinstance(value, Name):
            return value
        found, value = self.scope.type(value), self.settled(value)
        key = (base, (value,))
        if key not in self.tiles:
            kind = found.kind
            self.tiles[key] = self.new(base, self.scope.axes_of(value), kind, found.origin)
            name = self.tiles[key]
            self.statements.append(Map(name, self.scope.axes[name], kind, value))
            if grows(self.scope, value):
                self.scope.exponentials.add(name)
        return Name(self.tiles[key])

    def new(
        self, base: str, axes: tuple[str, ...], kind: Kind, origin: Origin = Origin.TENSOR
    ) -> str:
        """The name of a new tile."""
        name = self.scope.fresh(base)
        self.scope.axes[name] = axes
        self.scope.kinds[name] = kind
        if origin < Origin.TENSOR:
            self.scope.origins[name] = origin
        return name

    def settled(self, expr: Expr) -> Expr:
        """An expression with what changes the kind of a tile written out.

        What is computed without any tensor is held in f64, or in an integer, and takes a tensor's
        type where it meets one. Tiles all widen what they meet, so that casts say it.
        """
        if not self.scope.origins:
            return expr
        rebuilt = rebuild(expr, tuple(self.settled(c) for c in children(expr)))
        operands = children(rebuilt)
        if not operands or isinstance(expr, Logical):
            return rebuilt
        types = [self.scope.type(c) for c in children(expr)]
        if isinstance(expr, Compare):
            want = joined(types)
            have = joined([self.scope.declared(o) for o in operands])
        else:
            want, have = self.scope.type(expr).kind, self.scope.declared(rebuilt).kind
        if want is have:
            return rebuilt
        cast = CASTS[want]
        if isinstance(expr, Apply) and expr.function == "random":
            return Apply(cast, (rebuilt,))  # of so few bits that nothing is lost
        condition = rebuilt.condition if isinstance(rebuilt, Choice) else None
        parts = (
            Apply(cast, (o,))
            if t.origin < Origin.TENSOR
            and t.kind is not want
            and has_tiles(o)
            and o is not condition
            else o
            for o, t in zip(operands, types, strict=True)
        )
        return rebuild(rebuilt, tuple(parts))

    def held(self, value: Expr, kind: Kind) -> Expr:
        """A value as what is held in a kind, which it has unless it met no tensor."""
        value = self.settled(value)
        if kind.floating and has_tiles(value) and self.scope.declared(value).kind > kind:
            return Apply(CASTS[kind], (value,))
        return value

    # Expressions

    def _lower(self, expr: Expr) -> Valued:
        match expr:
            case Int() | Float() | Bool() | Value() | Var():
                return Valued(expr)
            case Absent():
                return Valued(Int(0), FALSE)
            case Read():
                return self._read(expr)
            case Unary(op=op, operand=operand):
                inner = self(operand)
                return Valued(Unary(op, inner.value), inner.here)
            case Binary(op=op, left=left, right=right):
                a, b = self(left), self(right)
                value = Binary(op, a.value, b.value)
                integral = not self.scope.kind(value).floating
                guard = quotient_guard(expr, b.value, integral)
                return Valued(value, both(a.here, b.here, guard))
            case Logical(op=op, left=left, right=right):
                a, b = self(left), self(right)
                return conjunction(a, b) if op == "and" else disjunction(a, b)
            case Compare(ops=ops, operands=operands):
                return self._compare(ops, operands)
            case Choice(condition=condition, then=then, other=other):
                c, a, b = self(condition), self(then), self(other)
                here = both(c.here, chosen(c.value, a.here, b.here))
                if FALSE in (a.here, b.here):  # the literal `absent` has no type of its own
                    return Valued(a.value if b.here == FALSE else b.value, here)
                return Valued(self._as(expr, chosen(c.value, a.value, b.value)), here)
            case Apply():
                return self._apply(expr)
            case Reduce():
                return self._reduce(expr)
            case Scan():
                return self.scan(expr)
            case Arg():
                return self._first(expr)
            case TopK():
                return self._sorted(expr)
            case Name() | Call():
                raise TypeError("an unresolved expression cannot be lowered")

    def _as(self, expr: Expr, value: Expr) -> Expr:
        """The value of a choice in the choice's own type, where one branch is all that is left."""
        if isinstance(value, Choice):
            return value
        want, have = self.scope.level1(expr), self.scope.type(value)
        return Apply(CASTS[want.kind], (value,)) if want.kind is not have.kind else value

    def _compare(self, ops: tuple[str, ...], operands: tuple[Expr, ...]) -> Valued:
        parts = [self(o) for o in operands]
        if all(p.here == TRUE for p in parts):
            return Valued(Compare(ops, tuple(p.value for p in parts)))  # type: ignore[arg-type]
        here = [both(a.here, b.here) for a, b in itertools.pairwise(parts)]
        if all(one == here[0] for one in here):
            return Valued(Compare(ops, tuple(p.value for p in parts)), here[0])  # type: ignore[arg-type]
        found: Valued | None = None
        for op, a, b in zip(ops, parts, parts[1:], strict=False):
            one = Valued(Compare((op,), (a.value, b.value)), both(a.here, b.here))  # type: ignore[arg-type]
            found = one if found is None else conjunction(found, one)
        assert found is not None
        return found

    def holds(self, condition: Expr, truth: bool = True) -> Expr:
        """That a condition is present and true; or present and false, without `truth`."""
        match condition:
            case Logical(op=op, left=left, right=right):
                join = both if (op == "and") is truth else either
                return join(self.holds(left, truth), self.holds(right, truth))
            case Unary(op="not", operand=operand):
                return self.holds(operand, not truth)
            case Compare(operands=operands) if len({self(o).here for o in operands}) > 1:
                links = [Compare((op,), (a, b)) for op, a, b in pairs(condition)]
                join = both if truth else either
                return reduce(join, (self._link(link, truth) for link in links))
            case _:
                return self._link(condition, truth)

    def _link(self, condition: Expr, truth: bool) -> Expr:
        """The same for a condition that is not made of others."""
        found = self(condition)
        return both(found.here, found.value if truth else negation(found.value))

    def _apply(self, expr: Apply) -> Valued:
        if expr.function == "only":
            value, condition = self(expr.arguments[0]), self.holds(expr.arguments[1])
            return Valued(value.value, both(value.here, condition))
        parts = [self(a) for a in expr.arguments]
        match expr.function:
            case "default":
                value, other = parts
                here = either(value.here, other.here)
                return Valued(self._as(expr, chosen(value.here, value.value, other.value)), here)
            case "present":
                return Valued(parts[0].here)
            case "detach":
                return parts[0]
            case "ceildiv":
                above, below = parts
                here = both(above.here, below.here, nonzero(below.value))
                return Valued(Apply("ceildiv", (above.value, below.value)), here)
            case "i32" | "i64" as name if self.scope.kind(parts[0].value) > INTEGERS[name]:
                (one,) = parts
                number = self.tile(one.value, "t") if self.scope.axes_of(one.value) else one.value
                here = both(one.here, self._fits(number, INTEGERS[name]))
                return Valued(Apply(name, (number,)), here)
            case name:
                applied: Expr = Apply(name, tuple(p.value for p in parts))
                if self.scope.axes_of(applied):  # what costs more than an addition is done once
                    applied = self.tile(applied, "t")
                return Valued(applied, both(*(p.here for p in parts)))

    def _read(self, expr: Read) -> Valued:
        if expr.tensor in self.scope.results:
            return self.scope.results[expr.tensor]
        index = [self(i) for i in expr.index]
        inside: list[Expr] = []
        values: tuple[Expr, ...] = ()
        for at, dimension in zip(
            index, self.scope.facts.tensors[expr.tensor].dimensions, strict=True
        ):
            low, extra = dimension.low, dimension.extra
            size = added(dimension.range, Int(extra))
            values = (*values, shifted(at.value, -low))
            own = isinstance(at.value, Var) and self.scope.size(at.value.name) == dimension.range
            if isinstance(values[-1], Int):
                inside.append(Compare(("<",), (values[-1], size)))
            elif not own:
                inside.append(Compare(("<=", "<"), (Int(0), values[-1], size)))
        here = both(*(i.here for i in index), *inside)
        axes = self.scope.axes_of(*values, here)  # an index may be absent along more than it varies
        key = (expr.tensor, values)
        if key not in self.tiles:
            found = self.scope.facts.types[expr.tensor]
            kind = found.kind
            name = self.tiles[key] = self.new(expr.tensor.lower(), axes, kind, found.origin)
            guard = both(self.scope.valid(axes), here)
            stored = self.scope.storage.get(expr.tensor, expr.tensor)
            self.statements.append(Load(name, axes, kind, stored, values, guard))
            info = self.scope.facts.tensors[expr.tensor]
            if info.input:
                self.scope.elements[name] = info.element
        if not self.scope.facts.tensors[expr.tensor].input:
            here = both(here, self._presence(expr.tensor, axes, values, here))
        return Valued(Name(self.tiles[key]), here)

    def _presence(
        self, tensor: str, axes: tuple[str, ...], index: tuple[Expr, ...], here: Expr
    ) -> Name:
        """The presence of a buffer's points, which is stored beside it."""
        key = (f"{tensor}?", index)
        if key not in self.tiles:
            name = self.tiles[key] = self.new(f"{tensor.lower()}_here", axes, Kind.BOOL)
            guard = both(self.scope.valid(axes), here)
            stored = self.scope.storage.get(tensor, tensor)
            self.statements.append(Load(name, axes, Kind.BOOL, f"{stored}?", index, guard))
        return Name(self.tiles[key])

    def _fits(self, value: Expr, kind: Kind) -> Expr:
        """That a number, cut off, lies in the range of an integer type; NaN does not."""
        bits = 31 if kind is Kind.I32 else 63
        if not self.scope.kind(value).floating:
            most = Int(2**bits - 1)
            return Compare(("<=", "<="), (Binary("-", Unary("-", most), Int(1)), value, most))
        least, most_ = Unary("-", Float(2.0**bits)), Float(2.0**bits)
        cut = chosen(
            Compare(("<",), (value, Int(0))), Apply("ceil", (value,)), Apply("floor", (value,))
        )
        return Compare(("<=", "<"), (least, cut, most_))

    # Reductions over whole axes

    def _reduce(self, expr: Reduce) -> Valued:
        body = self(expr.body)
        over = tuple(v for v in self.scope.order if v in expr.variables)
        where = both(self.scope.valid(over), body.here)
        if expr.op in ("any", "all"):
            return Valued(self.fold(expr.op, over, body.value, where, "t"))
        if expr.op == "count":
            return Valued(self._count(over, both(self.scope.valid(over), self.holds(expr.body))))
        present = self._exists(over, body.here, where)
        match expr.op:
            case "sum" | "prod" | "max" | "min":
                return Valued(self.fold(expr.op, over, body.value, where, "t"), present)
            case "mean":
                total = self.fold("sum", over, body.value, where, "t")
                return Valued(Binary("/", total, self._count(over, where)), present)
            case op:
                raise AssertionError(op)

    def fold(self, op: str, over: tuple[str, ...], value: Expr, where: Expr, base: str) -> Name:
        """A reduction of this block's lanes."""
        found, value = self.scope.type(value), self.settled(value)
        key = (f"{op} {','.join(over)} {base}", (value, where))
        if key in self.tiles:
            return Name(self.tiles[key])
        kind, origin = accumulated(op, found.kind), max(found.origin, Origin.INDEX)
        axes = tuple(a for a in self.scope.axes_of(value, where) if a not in over)
        product = sides(self.scope, value, where, over) if op == "sum" else None
        if product is not None:
            left, right = (self.operand(side, base) for side in product)
            name = self.new(base, axes, kind, origin)
            # a row that does not exist must not bring points in that no other row has
            rows = tuple(a for a in self.scope.axes_of(where) if a not in over)
            counts = both(self.scope.valid(rows), where)
            self.statements.append(Dot(name, axes, kind, over, left.name, right.name, counts))
        else:
            name = self.new(base, axes, kind, origin)
            self.statements.append(Fold(name, axes, kind, op, over, value, where))
        self.tiles[key] = name
        return Name(name)

    def scan(self, expr: Scan) -> Valued:
        """A running combination along an axis; absent before the first point."""
        body = self(expr.body)
        valid = self.scope.valid((expr.variable,))
        where = both(valid, body.here)
        if where == FALSE:
            return Valued(body.value, FALSE)
        value = self.scanned(expr.op.removeprefix("cum"), expr, body.value, where)
        if where == valid:
            return Valued(value)  # a lane that exists is the first, or comes after it
        return Valued(value, self.scanned("any", expr, TRUE, where))

    def scanned(self, op: str, expr: Scan, value: Expr, where: Expr) -> Expr:
        of, over = self.scope.type(value), expr.variable
        value = self.settled(value)
        key = (f"scan {op} {over} {expr.reverse}", (value, where))
        if key not in self.tiles:
            kind = Kind.BOOL if op == "any" else accumulated(op, of.kind)
            found = {*self.scope.axes_of(value, where), over}
            axes = tuple(a for a in self.scope.order if a in found)
            name = self.tiles[key] = self.new("some" if op == "any" else "c", axes, kind, of.origin)
            self.statements.append(Scan_(name, axes, kind, op, over, expr.reverse, value, where))
        return Name(self.tiles[key])

    def _first(self, expr: Arg) -> Valued:
        """The coordinate of an extreme along a whole axis."""
        body = self(expr.body)
        over = (expr.variable,)
        where = both(self.scope.valid(over), body.here)
        return Valued(
            self.fold(expr.op, over, body.value, where, "i"), self._exists(over, body.here, where)
        )

    def _sorted(self, expr: TopK) -> Valued:
        """Coordinates along a whole axis in order; absent beyond the points that are present."""
        body = self(expr.body)
        where = both(self.scope.valid((expr.variable,)), body.here)
        key = (f"topk {expr.variable} {expr.into}", (body.value, where))
        if key not in self.tiles:
            found = {*self.scope.axes_of(body.value, where), expr.into} - {expr.variable}
            axes = tuple(a for a in self.scope.order if a in found)
            name = self.tiles[key] = self.new("i", axes, Kind.I64)
            self.statements.append(TopK_(name, axes, expr.variable, expr.into, body.value, where))
        count = self._count((expr.variable,), where)
        return Valued(Name(self.tiles[key]), Compare(("<",), (Var(expr.into), count)))

    def operand(self, side: Expr, base: str) -> Name:
        """An operand of a product as a tile."""
        match side:
            case Apply(arguments=(Name(name=name),)):
                return self.tile(side, f"{name}_f")
            case Apply(arguments=(Choice(),)):
                return self.tile(side, "w")
            case _:
                return self.tile(side, base)

    def _count(self, over: tuple[str, ...], where: Expr) -> Expr:
        one = chosen(TRUE, Int(1), Int(0))
        axes = tuple(a for a in self.scope.axes_of(where) if a not in over)
        name = self.new("count", axes, Kind.I64)
        self.statements.append(Fold(name, axes, Kind.I64, "sum", over, one, where))
        return Name(name)

    def _exists(self, over: tuple[str, ...], here: Expr, where: Expr) -> Expr:
        """That some point is present."""
        if not set(self.scope.axes_of(here)) & set(over):
            some = (Compare(("<",), (Int(0), self.scope.size(v))) for v in over)
            return both(here, *some)
        return self.fold("any", over, TRUE, where, "some")


def accumulated(op: str, kind: Kind) -> Kind:
    """What a reduction is held in: integers are added and multiplied in 64 bits."""
    match op:
        case "any" | "all":
            return Kind.BOOL
        case "argmax" | "argmin" | "count":
            return Kind.I64
        case "sum" | "prod" if not kind.floating:
            return Kind.I64
        case _:
            return Kind.I64 if kind is Kind.BOOL else kind


def shifted(index: Expr, by: int) -> Expr:
    """`index + by`, with numbers at its end taken together."""
    match index:
        case Int(value=value) if value + by >= 0:
            return Int(value + by)
        case Binary(op="+", left=left, right=Int(value=value)):
            return shifted(left, value + by)
        case Binary(op="-", left=left, right=Int(value=value)):
            return shifted(left, by - value)
        case _ if by < 0:
            return Binary("-", index, Int(-by))
        case _:
            return added(index, Int(by))


def joined(types: Sequence[Type]) -> Kind:
    """The kind in which some operands meet."""
    found = types[0]
    for other in types[1:]:
        found = arithmetic(found, other)
    return found.kind


def has_tiles(expr: Expr) -> bool:
    """Whether an expression holds a tile."""
    return any(isinstance(n, Name) for n in subexpressions(expr))
