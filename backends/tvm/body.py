"""The statements of a kernel as lines of text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from attnc.backends.elements import RANGES, constant
from attnc.backends.numpy.layout import INDENT
from attnc.backends.refused import NotPrinted
from attnc.backends.triton.nans import without_nan
from attnc.backends.triton.presumed import Presumed
from attnc.backends.triton.terms import HELD, Held, Term
from attnc.backends.triton.updates import updates
from attnc.backends.tvm.clips import Clips
from attnc.backends.tvm.matrices import Matrices
from attnc.backends.tvm.memory import Memory
from attnc.backends.tvm.nests import Nest, as_fold, nests
from attnc.backends.tvm.pairs import Pairs
from attnc.backends.tvm.rounds import Rounds
from attnc.backends.tvm.scope import LaneScope, is_divided
from attnc.backends.tvm.sharing import shared
from attnc.backends.tvm.terms import DTYPES, KEPT
from attnc.ir.expr import Apply, Binary, Bool, Compare, Expr, Int, Name, Var
from attnc.ir.printer import AND
from attnc.ir.tiles import (
    Carry,
    Dot,
    Find,
    Fold,
    If,
    Let,
    Load,
    Loop,
    Map,
    Range,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.tiles_walk import ahead, conjuncts, expressions, in_full, in_turn, names
from attnc.ir.tiles_walk import statements as walk
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.presence import both

IDENTITIES: Final = {"sum": "0", "prod": "1", "any": "False", "all": "True"}


@dataclass
class Body(Presumed):
    """Prints statements."""

    scope: LaneScope
    lines: list[str] = field(default_factory=list[str])
    depth: int = 3
    buffers: dict[str, str] = field(default_factory=dict[str, str])
    """The lines that make room for tiles."""
    _placed: dict[str, str] = field(default_factory=dict[str, str])
    """Operands that are read in memory here, and how."""

    def __post_init__(self) -> None:
        Presumed.__post_init__(self)
        scope = self.scope
        self.memory: Memory = Memory(scope)
        self.plain: frozenset[str] = without_nan(scope.kernel)
        self.matrices: Matrices = self._matrices()
        self.pairs: Pairs = Pairs(scope, self.matrices)
        self.clips: Clips = Clips(scope, self.buffers)
        for target, operand in shared(scope, self.matrices.placed).items():
            scope.buffers[target] = scope.buffer(operand)
        self.uses: Counter[str] = Counter(
            n for s in walk(scope.kernel.body) for n in names(*expressions(s))
        )

    def _matrices(self) -> Matrices:
        return Matrices(self.scope)

    def line(self, text: str) -> None:
        """Appends a line."""
        self.lines.append(INDENT * self.depth + text)

    def _room(self, name: str) -> str:
        """The buffer of a tile, which is made if there is none."""
        python = self.scope.buffer(name)
        if python not in self.buffers:
            dtype = room_type(self.scope.context.kinds[name])
            axes = ", ".join(self.scope.layouts[name])
            note = f"  # [{axes}]" if axes else ""
            shape = self.scope.shape_of(name)
            self.buffers[python] = f"{python} = T.alloc_buffer({shape}, {dtype}){note}"
        return python

    # Statements

    def statements(self, body: Sequence[Statement]) -> None:
        """Prints statements in order, those with the same loops together."""
        sums = self.scope.products.sums
        done = {d.target for d, _ in sums.values()}
        kept: list[Statement] = []
        for item in body:
            if isinstance(item, Dot) and item.target in done:
                continue
            if isinstance(item, Map) and self._is_known(item):
                continue
            if isinstance(item, Fold) and self._is_some(item):
                self._true.add(item.target)
                continue
            kept.append(item)
        for part in self._split(kept):
            for found in nests(part, self.scope):
                if isinstance(found, Nest):
                    self._nest(found)
                    made = [i.target for i in found.items]
                else:
                    self._statement(found)
                    made = [found.target] if isinstance(found, Dot | Scan | TopK) else []
                for name in made:
                    self._pack(name)

    def _split(self, body: Sequence[Statement]) -> Iterator[list[Statement]]:
        """Statements up to each sum onto a product, and that alone."""
        part: list[Statement] = []
        for item in body:
            if isinstance(item, Map) and item.target in self.scope.products.sums:
                yield part
                part = []
                self._sum(item)
                self._pack(item.target)
            elif isinstance(item, Load) and item.target in self.pairs.loaded:
                yield part
                part = []
                self._load_pairs(item)
            elif isinstance(item, Load) and self._is_placed(item):
                yield part
                part = []
                self._place(item)
                self._pack(item.target)
            elif isinstance(item, Dot) and not self.matrices.has(item):
                part.append(as_fold(item))
            else:
                part.append(item)
        yield part

    def _statement(self, item: Statement) -> None:
        match item:
            case Dot():
                self._product(item, item.target, "None")
            case Let():
                self._let(item)
            case Loop():
                self._loop(item)
            case If():
                self._if(item)
            case Store():
                self._store(item)
            case Scan():
                self._scan(item)
            case TopK():
                self._topk(item)
            case Find():
                raise TypeError("searches are loops that count, here")
            case Load() | Map() | Fold():
                raise TypeError("a statement of lanes stands in a nest")

    def _is_placed(self, item: Load) -> bool:
        """Whether a load is of an operand whose elements can be read in memory here."""
        self._placed.pop(item.target, None)
        return item.target in self.matrices.placed and self._mask(item.where).true

    def _place(self, item: Load, word: str = "if") -> None:
        """Prints the load of such an operand, for where they lie there in another type."""
        self._placed[item.target] = self.memory.read(item)
        self.line(f"{word} not {self.matrices.placed[item.target]}:")
        self.depth += 1
        self._nest_of(item)
        self.depth -= 1

    def _load_pairs(self, item: Load) -> None:
        """Prints the load of what only products read that may take pairs, for these and else."""
        scope = self.scope
        along = scope.natural(item, scope.layouts[item.target])[-1]
        for condition, packed in self.pairs.of(item.target):
            self.line(f"if {condition}:")
            for one in packed:
                self.buffers.setdefault(one.room, self.pairs.made(one))
                with scope.text.calling():
                    lane = self.memory.place(item.tensor, item.index)
                    lane = self._masked_read(item, self._mask(item.where), lane)
                line = self.pairs.reading(one, lane, along=along == one.over)
                self.line(INDENT + line)
        if self._is_placed(item):
            self._place(item, "elif")
            return
        self.line("else:")
        self.depth += 1
        self._nest_of(item)
        self.depth -= 1

    def _pack(self, name: str) -> None:
        """Prints how a tile is packed in pairs, for products that take these."""
        for condition, packed in self.pairs.of(name):
            self.line(f"if {condition}:")
            for one in packed:
                self.buffers.setdefault(one.room, self.pairs.made(one))
                self.line(INDENT + self.pairs.packing(one))

    def _is_known(self, item: Map) -> bool:
        """Whether a map is a condition that holds in all lanes of the full range around."""
        if not self.around or item.target in self._aliases or item.kind is not Kind.BOOL:
            return False
        if self._folded(item.value) == Bool(True):
            self._true.add(item.target)
            return True
        return False

    def _typed(self, expr: Expr, kind: Kind) -> str:
        """The text of a value that has its type."""
        term = self.expression.held(self._value(expr, kind), HELD[kind])
        return self.expression.as_tensor(term)

    # Nests of loops

    def _nest(self, nest: Nest) -> None:
        """Prints loops over lanes, behind what folds begin with."""
        scope = self.scope
        if nest.loops and isinstance(nest.items[0], Load):
            for item in nest.items:
                assert isinstance(item, Load)
                self._load(item, nest.loops)
            return
        for item in nest.items:
            if isinstance(item, Fold):
                self._begin(item)
        inside = Counter(n for i in nest.items for n in names(*expressions(i)))
        plain = self._is_plain(nest)
        before, heads = self.depth, len(self.lines)
        self._loops(nest.loops, vector=not plain)
        first = len(self.lines)
        for item in nest.items:
            local = isinstance(item, Map) and item.target not in self._aliases
            local = local and inside[item.target] == self.uses[item.target] > 0
            self._lane(item, local=local, vector=not plain)
        self.depth = before
        if len(self.lines) == first:  # all of it is where it shall be
            del self.lines[heads:]
        scope.numbers.clear()
        lines = self.lines[heads:]
        if any(PLACES.search(line) for line in lines):
            self.lines[heads:] = [line.replace("in _each(", "in range(") for line in lines]

    def _is_plain(self, nest: Nest) -> bool:
        """Whether loops over lanes are no vectors."""
        if any(
            isinstance(i, Load) or (isinstance(i, Fold) and self.scope.vector in i.over)
            for i in nest.items
        ):
            return True
        return any(self._is_scalar(e) for i in nest.items for e in expressions(i))

    def _is_scalar(self, expr: Expr) -> bool:
        """Whether lanes of an expression are no vectors: integers are divided lane by lane, or a
        function has no text for vectors."""
        for node in subexpressions(expr):
            match node:
                case Binary(op="**", right=right) if not isinstance(right, Int):
                    return True
                case Binary() if is_divided(node):
                    if self.scope.vector in self.scope.context.varies(node):
                        return True
                case Apply(function=function) if function in SCALAR:
                    return True
                case _:
                    pass
        return False

    def _loops(self, axes: Sequence[str], *, vector: bool) -> None:
        """The heads of loops over lanes."""
        scope = self.scope
        part = ""
        if scope.vector in axes and scope.clipped.keys() & set(axes):
            part = self.clips.part
            self.line(f"for {part} in range({self.clips.parts}):")
            self.depth += 1
        for axis in axes:
            lane, size = scope.lane(axis), scope.size_of(axis)
            vectors = vector and axis == scope.vector and axis == axes[-1]
            head = "_each" if vectors else "range"
            if axis in scope.clipped:
                clip = scope.clipped[axis]
                first, last = clip.first, clip.last
                if part:
                    first, last = f"{clip.firsts}[{part}]", f"{clip.lasts}[{part}]"
                at = scope.names.of("at", f"{axis}_at")
                self.line(f"for {at} in T.serial({last} - {first}):")
                self.depth += 1
                self.line(f"{lane}: T.let = {first} + {at}")
            elif part and axis == scope.vector:
                at = scope.names.of("at", f"{axis}_at")
                self.line(f"for {at} in {head}(min({size}, LANES)):")
                self.depth += 1
                self.line(f"{lane} = T.meta_var({part} * LANES + {at})")
            else:
                self.line(f"for {lane} in {head}({size}):")
                self.depth += 1

    def _begin(self, item: Fold) -> None:
        """What a fold begins with."""
        scope = self.scope
        self._room(item.target)
        before = self.depth
        self._loops(scope.layouts[item.target], vector=True)
        if item.op in ("argmax", "argmin"):
            some, best = self._best(item)
            self.line(f"{self._element(some, item.target)} = T.int8(0)")
            kind = DTYPES[HELD[scope.context.kind(item.value)]]
            self.line(f"{self._element(best, item.target)} = T.Cast({kind}, 0)")
            self.line(f"{scope.element(item.target)} = T.Cast({DTYPES[HELD[item.kind]]}, 0)")
        else:
            self._assign(scope.element(item.target), item.kind, self._identity(item.op, item.kind))
        self.depth = before

    def _best(self, item: Fold) -> tuple[str, str]:
        """The buffers of whether there is an extreme yet, and of it."""
        scope, target = self.scope, item.target
        some, best = (scope.names.of(k, f"{scope.buffer(target)}_{k}") for k in ("some", "best"))
        shape = scope.shape_of(target)
        kind = DTYPES[HELD[scope.context.kind(item.value)]]
        self.buffers[some] = f'{some} = T.alloc_buffer({shape}, "int8")'
        self.buffers[best] = f"{best} = T.alloc_buffer({shape}, {kind})"
        return some, best

    def _element(self, buffer: str, like: str) -> str:
        text = self.scope.element(like)
        return buffer + text[text.index("[") :]

    def _identity(self, op: str, kind: Kind) -> str:
        dtype = DTYPES[HELD[kind]]
        if op in ("any", "all"):
            return IDENTITIES[op]
        if op in IDENTITIES:
            return f"T.Cast({dtype}, {IDENTITIES[op]})"
        if kind.floating:
            sign = "-" if op == "max" else ""
            return f'T.Cast({dtype}, {sign}float("inf"))'
        bits = 31 if kind is Kind.I32 else 63
        number = -(2**bits) if op == "max" else 2**bits - 1
        return f"T.int64({number})" if kind is not Kind.I32 else f"T.int32({number})"

    def _lane(self, item: Load | Map | Fold, *, local: bool, vector: bool) -> None:
        """What a lane of a statement is."""
        scope = self.scope
        match item:
            case Load():
                text = self._read(item)
            case Map():
                text = self._typed(item.value, item.kind)
            case Fold():
                self._accumulate(item)
                return
        if local:
            python = scope.names.of("number", f"{scope.names.of('tile', item.target)}_")
            held = HELD[item.kind]
            if item.kind is Kind.BOOL:  # vectors of truths have no name in TVM
                self.line(f"{python} = T.meta_var({text})")
            else:
                self.line(f"{python}: {'T.let' if vector else KEPT.get(held, 'T.let')} = {text}")
            scope.numbers[item.target] = Term(python, (), HELD[item.kind])
            return
        self._room(item.target)
        self._assign(scope.element(item.target), item.kind, text)

    def _assign(self, element: str, kind: Kind, text: str) -> None:
        """A line that gives a lane its value; truths have a byte."""
        if text == element:
            return
        if kind is Kind.BOOL:
            text = f'T.Cast("int8", {text})'
        self.line(f"{element} = {text}")

    def _accumulate(self, item: Fold) -> None:
        here = self._truth(item.where)
        if item.op in ("argmax", "argmin"):
            self._extreme(item, here)
            return
        element = self._sum_of(item)
        value = self._typed(item.value, item.kind)
        if not here.true:
            identity = self._identity(item.op, item.kind)
            value = f"_where({here.text}, {value}, {identity})"
        self._assign(
            element, item.kind, self._combined(item.op, item.kind, element, value, item.target)
        )

    def _sum_of(self, item: Fold) -> str:
        """Where a fold is added up."""
        return self.scope.element(item.target)

    def _combined(self, op: str, kind: Kind, one: str, other: str, target: str = "") -> str:
        match op:
            case "sum":
                return f"{one} + {other}"
            case "prod":
                return f"{one} * {other}"
            case "any":
                return f"{one} != 0 or {other}"
            case "all":
                return f"{one} != 0 and ({other})"
            case _ if kind.floating:
                names_ = ("_over", "_under") if target in self.plain else ("_larger", "_smaller")
                return f"{names_[op == 'min']}({one}, {other})"
            case _:
                return f"T.{op}({one}, {other})"

    def _extreme(self, item: Fold, here: Term) -> None:
        """The first coordinate where a value is extreme; NaN is more extreme than any number."""
        scope, (over,) = self.scope, item.over
        some, best = (self._element(b, item.target) for b in self._best(item))
        value = self._typed(item.value, scope.context.kind(item.value))
        sign = ">" if item.op == "argmax" else "<"
        number = scope.names.fresh(f"{scope.buffer(item.target)}_value")
        better = scope.names.fresh(f"{scope.buffer(item.target)}_better")
        self.line(f"{number}: T.let = {value}")
        more = f"{number} {sign} {best}"
        if scope.context.kind(item.value).floating:
            more = f"(_nan({number}) or {more}) and not _nan({best})"
        self.line(f"{better} = T.meta_var({here.at(AND + 1)} and ({some} == 0 or {more}))")
        coordinate = f"T.Cast({DTYPES[HELD[item.kind]]}, {scope.variable(over).text})"
        element = scope.element(item.target)
        self.line(f"{element} = T.Select({better}, {coordinate}, {element})")
        self.line(f"{best} = T.Select({better}, {number}, {best})")
        self.line(f'{some} = T.Cast("int8", {some} != 0 or {better})')

    # Products

    def _product(self, item: Dot, target: str, begin: str) -> None:
        """A product, onto what a function gives for a row and a vector."""
        scope = self.scope
        found = scope.products.matrices[item.target]
        vector, other = self.matrices.sides(item)
        single, vectors = self.matrices.operands(item)
        sizes = ", ".join(map(scope.size_of, (other, vector, found.over)))
        dtype = DTYPES[HELD[item.kind]]
        for name in (single, vectors):
            if HELD[scope.context.kinds[name]] is not HELD[item.kind]:
                raise NotPrinted("a product of tiles of two types", Name(name))
        room, right = self._room(target), self._room(vectors)
        lanes = f"lambda {scope.lane(other)}, {scope.lane(found.over)}: "
        taken = lanes
        self._room(single)
        if single in self._placed:
            taken += self._placed[single]
            condition = self.matrices.placed[single]
            taken = f"_either({condition}, ({taken}), ({lanes}{scope.element(single)}))"
        else:
            taken = f"({taken}{scope.element(single)})"
        turned = scope.layouts[single] == (found.over, other)
        if item.target in self.pairs.products:
            one, several = self.pairs.products[item.target]
            for name in dict.fromkeys((single, vectors)):
                if name in self.pairs.carried:
                    self._pack(name)
            taken = f"_either({one.condition}, {self.pairs.taken(one)}, {taken})"
            right = f"_either({one.condition}, {several.room}, {right})"
        part = ""
        for axis, which in ((other, "rows"), (found.over, "inner")):
            if axis in scope.clipped:
                clip = scope.clipped[axis]
                part = f", some_{which}=({clip.firsts}, {clip.lasts})"
        sizes = f"{sizes}, LANES, {dtype}"
        self.line(f"_dot({room}, {taken}, {right}, {sizes}, {begin}, {turned}{part})")

    def _sum(self, item: Map) -> None:
        """A product that is added onto something."""
        dot, addend = self.scope.products.sums[item.target]
        carried = self._aliases.get(item.target)
        if self.matrices.has(dot) and self.matrices.begun(dot, addend):
            vector, other = self.matrices.sides(dot)
            lanes = ", ".join(map(self.scope.lane, (other, vector)))
            text = self._typed(addend, item.kind)
            self._product(dot, item.target, f"(lambda {lanes}: {text})")
            return
        if addend != Name(carried or ""):
            self._nest_of(Map(item.target, item.axes, item.kind, addend))
        if self.matrices.has(dot):
            vector, other = self.matrices.sides(dot)
            lanes = ", ".join(map(self.scope.lane, (other, vector)))
            self._room(item.target)
            self._product(dot, item.target, f"(lambda {lanes}: {self.scope.element(item.target)})")
            return
        self._nest_of(as_fold(dot))
        onto = Binary("+", Name(item.target), Name(dot.target))
        self._nest_of(Map(item.target, item.axes, item.kind, onto))

    def _nest_of(self, item: Load | Map | Fold) -> None:
        for found in nests([item], self.scope):
            assert isinstance(found, Nest)
            self._nest(found)

    # Memory

    def _read(self, item: Load) -> str:
        """A lane of a load in the type that it is held in."""
        text, dtype = self.memory.read(item), DTYPES[HELD[item.kind]]
        return self._masked_read(item, self._mask(item.where), text, dtype)

    def _masked_read(self, item: Load, mask: Term, text: str, dtype: str = '"uint16"') -> str:
        """An element, or what is there where a load has none."""
        if mask.true:
            return text
        fill = f"T.Cast({dtype}, 0)" if dtype == '"uint16"' else _fill(item)
        return f"T.if_then_else({mask.text}, {text}, {fill})"

    def _load(self, item: Load, loops: Sequence[str]) -> None:
        """The lanes of a load. What does not vary along a row is asked once for it, so that a row
        that lies in memory as it does here is copied in vectors."""
        scope, before, row = self.scope, self.depth, loops[-1]
        room = self._room(item.target)
        parts = [p for p in conjuncts(self._masked(item.where)) if not self.expression(p).true]
        inside = [p for p in parts if row in scope.context.varies(p)]
        asked = both(*(p for p in parts if p not in inside))
        element = scope.element(item.target)
        if self._is_turned(item, loops) and not inside:
            vector, at, part = loops[0], scope.names.of("at", f"{loops[0]}_at"), self.clips.part
            rows, size = scope.names.of("rows", f"{room}_rows"), scope.size_of(vector)
            self.buffers[rows] = f"{rows} = T.alloc_buffer((LANES, {scope.size_of(row)}), FLOAT)"
            self.line(f"if _turns({size}, {scope.size_of(row)}, LANES):")
            self.line(f"{INDENT}for {part} in range({size} // LANES):")
            self.line(f"{INDENT * 2}for {at} in range(LANES):")
            self.depth += 3
            self.line(f"{scope.lane(vector)} = T.meta_var({part} * LANES + {at})")
            self._rows_of(item, row, f"{rows}[{at}, {scope.lane(row)}]", asked, inside)
            self.depth = before + 2
            self.line(f"_turn({room}, {rows}, {part}, LANES)")
            self.depth = before
            self.line("else:")
            self.depth += 1
        self._loops(loops[:-1], vector=False)
        self._rows_of(item, row, element, asked, inside)
        self.depth = before

    def _is_turned(self, item: Load, loops: Sequence[str]) -> bool:
        """Whether rows in memory are columns of the tile: vectors go the other way."""
        scope = self.scope
        return (
            len(loops) == 2
            and loops[0] == scope.vector
            and scope.layouts[item.target] == (loops[1], loops[0])
            and HELD[item.kind] is Held.FLOAT
            and not scope.clipped.keys() & set(loops)
            and bool(self._near(item, loops[1], ()))
        )

    def _rows_of(
        self, item: Load, row: str, element: str, asked: Expr, inside: Sequence[Expr]
    ) -> None:
        """A row of a load, if what is asked of it holds, and of what is `inside` lane by lane."""
        before = self.depth
        if asked != Bool(True):
            self.line(f"if {self.expression(asked).text}:")
            self.depth += 1
        self._row_of(item, row, element, inside)
        if asked != Bool(True):
            self.depth -= 1
            self.line("else:")
            self.depth += 1
            self._along(row, item, element, _fill(item))
        self.depth = before

    def _row_of(self, item: Load, row: str, element: str, inside: Sequence[Expr]) -> None:
        """A row of a load that is there."""
        before, near = self.depth, self._near(item, row, inside)
        if element == self.scope.element(item.target) and self.scope.layouts[item.target][-1:] != (
            row,
        ):
            near = ""
        if near:
            self.line(f"if {near}:")
            self.depth += 1
            self._along(row, item, element, self.memory.read(item, near=True), vector=True)
            self.depth = before
            self.line("else:")
            self.depth += 1
        dtype, mask = DTYPES[HELD[item.kind]], self.expression(both(*inside))
        text = self._masked_read(item, mask, self.memory.read(item), dtype)
        self._along(row, item, element, text)
        self.depth = before

    def _along(
        self, row: str, item: Load, element: str, text: str, *, vector: bool = False
    ) -> None:
        """A loop over a row of a load."""
        before = self.depth
        if vector:
            self.line(f"for {self.scope.lane(row)} in _beside({self.scope.size_of(row)}):")
            self.depth += 1
        else:
            self._loops((row,), vector=False)
        self._assign(element, item.kind, text)
        self.depth = before

    def _near(self, item: Load | Store, row: str, inside: Sequence[Expr]) -> str:
        """When a row lies in memory as in the tile, all of it; never if nothing is said."""
        scope, size = self.scope, self.scope.axis(row).size
        plain = item.tensor.removesuffix("?") not in {b.name for b in scope.plan.buffers}
        alike = (
            item.index[-1:] == (Var(row),)
            and row not in scope.context.varies(*item.index[:-1])
            and row not in {*scope.strides, *scope.clipped}
            and plain
            and self.memory.declared(item.tensor) in VECTORS
        )
        if not alike or not set(inside) <= {Compare(("<",), (Var(row), size))}:
            return ""
        asked = [self.memory.near(item.tensor)]
        if inside:
            end = scope.size_of(row)
            if scope.axis(row).kind != "whole":
                end = f"{scope.start_of(row)} + {end}"
            asked.append(f"{end} <= {scope.text(size).text}")
        return " and ".join(asked)

    def _store(self, item: Store) -> None:
        scope = self.scope
        if item.combine is not None:
            raise NotPrinted(f"a store that combines by {item.combine}", item.value)
        kind = scope.context.facts.types[item.tensor].kind
        varying = scope.context.varies(*item.index, item.value, item.where, item.guard)
        axes = scope.natural(item, scope.dimensions(scope.context.sorted(varying)))
        before = self.depth
        conditions = [p for p in conjuncts(self._masked(item.guard)) if p != Bool(True)]
        if self._is_turned_out(item, axes, kind, conditions):
            self._turn_out(item, axes, kind, conditions)
            self.line("else:")
            self.depth += 1
        bound: set[str] = set()
        for axis in (None, *axes):
            if axis is not None:
                self._loops((axis,), vector=False)
                bound.add(axis)
            now = [c for c in conditions if scope.context.varies(c) <= bound | self._points()]
            conditions = [c for c in conditions if c not in now]
            if now:
                terms = [self.expression(c) for c in now]
                text = " and ".join(t.at(AND + 1) for t in terms if not t.true)
                if text:
                    self.line(f"if {text}:")
                    self.depth += 1
        where = self._truth(item.where)
        value = self._value(item.value, kind)
        buffer = next((b for b in scope.plan.buffers if b.name == item.tensor), None)
        if buffer is not None:
            text = self._typed(item.value, kind)
            kept = self.memory.kept(item.tensor, text)
            self.line(f"{self.memory.place(item.tensor, item.index)} = {kept}")
            if buffer.presence == "byte":
                place = self.memory.place(f"{item.tensor}?", item.index)
                kept = self.memory.kept(f"{item.tensor}?", self.expression.as_tensor(where))
                self.line(f"{place} = {kept}")
            self.depth = before
            return
        output = next(o for o in scope.plan.outputs if o.name == item.tensor)
        if value.held in (Held.I64, Held.INT) and output.element in RANGES:
            low, high = RANGES[output.element]
            inside = f"{value.at(AND)} >= {low} and {value.at(AND)} <= {high}"
            text = inside if where.true else f"{where.at(AND)} and {inside}"
            where = Term(text, (), Held.BOOL, AND)
        text = self._typed(item.value, kind)
        if not where.true:
            fill = f"T.Cast({DTYPES[HELD[kind]]}, {constant(item.empty, kind)})"
            text = f"_where({where.text}, {text}, {fill})"
        self.line(
            f"{self.memory.place(item.tensor, item.index)} = {self.memory.stored(item, text)}"
        )
        self.depth = before

    def _is_turned_out(
        self, item: Store, axes: Sequence[str], kind: Kind, conditions: Sequence[Expr]
    ) -> bool:
        """Whether columns of tiles become rows in memory, of each of which the same is asked."""
        scope = self.scope
        if len(axes) != 2 or axes[0] != scope.vector or HELD[kind] is not Held.FLOAT:
            return False
        varies = scope.context.varies
        inside = [c for c in conditions if axes[1] in varies(c)]
        return axes[1] not in varies(item.where) and bool(self._near(item, axes[1], inside))

    def _turn_out(
        self, item: Store, axes: Sequence[str], kind: Kind, conditions: Sequence[Expr]
    ) -> None:
        """Prints a store whose values are computed in vectors, and turned, where they can be."""
        scope, (vector, row), before = self.scope, axes, self.depth
        size, part = scope.size_of(vector), self.clips.part
        self.line(f"if _turns({size}, {scope.size_of(row)}, LANES):")
        self.depth += 1
        new = f"{item.tensor} in vectors"
        scope.context.kinds[new] = kind
        scope.context.axes[new] = scope.context.sorted(set(axes))
        scope.layouts[new] = (row, vector)
        scope.buffers[new] = room = scope.names.of("turned", f"{item.tensor.lower()}_turned")
        self._nest_of(Map(new, scope.context.axes[new], kind, item.value))
        self._room(new)
        rows, at = f"{room}_rows", scope.names.of("at", f"{vector}_at")
        self.buffers[rows] = f"{rows} = T.alloc_buffer((LANES, {scope.size_of(row)}), FLOAT)"
        self.line(f"for {part} in range({size} // LANES):")
        self.depth += 1
        self.line(f"_turn_back({rows}, {room}, {part}, LANES)")
        self.line(f"for {at} in range(LANES):")
        self.depth += 1
        self.line(f"{scope.lane(vector)} = T.meta_var({part} * LANES + {at})")
        inside = [c for c in conditions if row in scope.context.varies(c)]
        asked = self.expression(both(*(c for c in conditions if c not in inside)))
        if not asked.true:
            self.line(f"if {asked.text}:")
            self.depth += 1
        text, where = f"{rows}[{at}, {scope.lane(row)}]", self._truth(item.where)
        if not where.true:
            fill = f"T.Cast({DTYPES[HELD[kind]]}, {constant(item.empty, kind)})"
            text = f"_where({where.text}, {text}, {fill})"
        text = self.memory.stored(item, text)
        place = self.memory.place(item.tensor, item.index)
        found = self.memory.tensor(item.tensor)
        self.line(f"if {self._near(item, row, inside)}:")
        self.line(f"{INDENT}for {scope.lane(row)} in _beside({scope.size_of(row)}):")
        self.line(f"{INDENT * 2}{found.near}{place.removeprefix(found.python)} = {text}")
        self.line("else:")
        self.depth += 1
        self._loops((row,), vector=False)
        if inside:
            self.line(f"if {self.expression(both(*inside)).text}:")
            self.depth += 1
        self.line(f"{place} = {text}")
        self.depth = before

    def _points(self) -> set[str]:
        """Axes of which a program or a round has one coordinate."""
        return {a.name for a in self.scope.kernel.axes if not self.scope.is_tile(a.name)}

    # Along an axis, in order

    def _scan(self, item: Scan) -> None:
        """What combines the lanes up to each one, or from each one on."""
        scope, over = self.scope, item.over
        room = self._room(item.target)
        if not scope.is_tile(over):
            self._nest_of(Map(item.target, item.axes, item.kind, item.value))
            return
        rest = tuple(a for a in scope.layouts[item.target] if a != over)
        run = scope.names.of("run", f"{room}_run")
        sizes = ", ".join([scope.size_of(a) for a in rest] or ["1"])
        self.buffers[run] = f"{run} = T.alloc_buffer(({sizes},), {room_type(item.kind)})"
        element = f"{run}[{', '.join(map(scope.lane, rest)) or '0'}]"
        before = self.depth
        self._loops(rest, vector=True)
        self._assign(element, item.kind, self._identity(item.op, item.kind))
        self.depth = before
        lane = scope.lane(over)
        if item.reverse:
            turn = scope.names.of("turn", f"{over}_turn")
            self.line(f"for {turn} in range({scope.size_of(over)}):")
            self.depth += 1
            self.line(f"{lane}: T.let = {scope.size_of(over)} - 1 - {turn}")
        else:
            self.line(f"for {lane} in range({scope.size_of(over)}):")
            self.depth += 1
        self._loops(rest, vector=True)
        here = self._truth(item.where)
        value = self._typed(item.value, item.kind)
        if not here.true:
            value = f"_where({here.text}, {value}, {self._identity(item.op, item.kind)})"
        self._assign(element, item.kind, self._combined(item.op, item.kind, element, value))
        self.line(f"{scope.element(item.target)} = {element}")
        self.depth = before

    def _topk(self, item: TopK) -> None:
        """Coordinates, the largest value first: for each place, the best behind the one before."""
        scope, over, into = self.scope, item.over, item.into
        rest = tuple(a for a in scope.layouts[item.target] if a != into)
        kind = scope.context.kind(item.value)
        self._room(item.target)
        base = scope.buffer(item.target)
        names_ = {k: scope.names.of(k, f"{base}_{k}") for k in ("last", "at", "best", "found")}
        dtypes = {"last": DTYPES[HELD[kind]], "at": "INDEX", "best": DTYPES[HELD[kind]]}
        dtypes["found"] = "INDEX"
        for key, python in names_.items():
            self.buffers[python] = f"{python} = T.alloc_buffer((1,), {dtypes[key]})"
        last, at, best, found = (f"{names_[k]}[0]" for k in ("last", "at", "best", "found"))
        before = self.depth
        self._loops(rest, vector=False)
        self.line(f"{last} = T.Cast({dtypes['last']}, 0)")
        self.line(f"{at} = T.Cast(INDEX, -1)")
        self._loops((into,), vector=False)
        self.line(f"{best} = T.Cast({dtypes['best']}, 0)")
        self.line(f"{found} = T.Cast(INDEX, -1)")
        self._loops((over,), vector=False)
        value = scope.names.of("value", f"{base}_value")
        here = scope.names.of("here", f"{base}_here")
        coordinate = scope.names.of("coordinate", f"{base}_{over}")
        self.line(f"{coordinate}: T.let = T.Cast(INDEX, {scope.variable(over).text})")
        self.line(f"{value}: T.let = {self._typed(item.value, kind)}")
        after = (
            f"{at} < 0 or _ahead({last}, {value}) or _tied({last}, {value}) and {at} < {coordinate}"
        )
        self.line(f"{here} = T.meta_var({self._truth(item.where).at(AND + 1)} and ({after}))")
        better = f"{here} and ({found} < 0 or _ahead({value}, {best}))"
        self.line(f"if {better}:")
        self.line(f"{INDENT}{best} = {value}")
        self.line(f"{INDENT}{found} = {coordinate}")
        self.depth -= 1
        self.line(f'{scope.element(item.target)} = T.Cast("int64", T.max({found}, 0))')
        self.line(f"{last} = {best}")
        self.line(f"{at} = T.Select({found} < 0, T.Cast(INDEX, 2**30), {found})")
        self.depth = before

    # Numbers

    def _let(self, item: Let) -> None:
        scope, kind = self.scope, item.kind
        scope.values[item.name] = scope.types()(item.value)
        within = self.expression.interval(item.value)
        if kind is Kind.I64 and within is not None:
            scope.bounds[item.name] = within
        term = scope.hoisted(item.value, kind) if kind.floating else None
        if term is None:
            term = self._value(item.value, kind)
            if not term.text.isidentifier() or term.literal:
                python = scope.names.of("value", item.name)
                place = KEPT.get(term.held, "T.let")
                self.line(f"{python}: {place} = {self.expression.as_tensor(term)}")
                term = Term(python, (), term.held)
        scope.locals[item.name] = term

    # Blocks

    def _starts(self, carries: tuple[Carry, ...]) -> None:
        for carry in carries:
            self._nest_of(Map(carry.name, carry.axes, carry.kind, carry.start))

    def _inside(self, item: Loop | If) -> None:
        """The body of a block, and what it carries brought along."""
        before, true = self._aliases, self._true
        self._true = set(true)
        found = updates(item.body, item.carries, {}).aliases
        where = {t: s for s in item.body for t in ([s.target] if isinstance(s, Map) else [])}
        found = {t: c for t, c in found.items() if t in where}
        tested = isinstance(item, Loop) and item.where != Bool(True)
        first = 0
        if isinstance(item, Loop) and tested:
            first = ahead(item)
            self.statements(item.body[:first])
            self.line(f"if {self._truth(item.where).text}:")
            self.depth += 1
        self._aliases = {**before, **found}
        scope = self.scope
        for target, carried in found.items():
            scope.buffers[target] = scope.buffer(carried)
        self.statements(item.body[first:])
        self._nexts([c for c in item.carries if c.name not in found.values()])
        self._aliases, self._true = before, true
        self.depth -= tested

    def _nexts(self, carries: Sequence[Carry]) -> None:
        """What a block carries, for the next round; by way of others where one reads another."""
        scope, context = self.scope, self.scope.context
        stale: set[str] = set()
        together = False
        for carry in carries:
            together = together or bool(names(carry.next) & stale)
            stale.add(carry.name)
        if not together:
            for carry in carries:
                self._nest_of(Map(carry.name, carry.axes, carry.kind, carry.next))
            return
        for carry in carries:
            new = f"{carry.name}'"
            context.kinds[new], context.axes[new] = carry.kind, carry.axes
            scope.layouts[new] = scope.layouts[carry.name]
            scope.buffers[new] = scope.names.of("next", f"{scope.buffer(carry.name)}_next")
            self._nest_of(Map(new, carry.axes, carry.kind, carry.next))
        for carry in carries:
            self._nest_of(Map(carry.name, carry.axes, carry.kind, Name(f"{carry.name}'")))

    def _loop(self, item: Loop) -> None:
        self._starts(item.carries)
        for parts in in_turn(item, self.scope.axis(item.axis).kind):
            self._rounds(item, parts)

    def _rounds(self, item: Loop, parts: tuple[Range, ...]) -> None:
        """The rounds through the ranges of one class."""
        scope, axis = self.scope, item.axis
        clipped = not parts[0].full and self.clips.has(item)
        for line in self.clips.before(item) if clipped else ():
            self.line(line)
        rounds = Rounds(scope, item, parts)
        for line in (*rounds.before, rounds.line):
            self.line(line)
        self.depth += 1
        for line in rounds.inside:
            self.line(line)
        known = scope.ends.pop(axis, None)
        stride = scope.strides.pop(axis, None)
        if rounds.end is not None:
            scope.ends[axis] = rounds.end
        if rounds.step is not None:
            scope.strides[axis] = rounds.step
        scope.whole_ends[axis] = all(p.full or p.high == scope.axis(axis).size for p in parts)
        for line in self.clips.inside(item) if clipped else ():
            self.line(line)
        with self._within(item, parts):
            self._inside(in_full(item) if parts[0].full else item)
        scope.clipped.pop(axis, None)
        self.depth -= 1
        scope.ends.pop(axis, None)
        scope.strides.pop(axis, None)
        if known is not None:
            scope.ends[axis] = known
        if stride is not None:
            scope.strides[axis] = stride

    def _if(self, item: If) -> None:
        self._starts(item.carries)
        self.line(f"if {self._truth(item.condition).text}:")
        self.depth += 1
        self._inside(item)
        self.depth -= 1


PLACES: Final = re.compile(r"\b_floor(div|mod)\(")
"""Helpers that keep numbers in places of their own, of which there are no vectors."""
VECTORS: Final = (None, "f16", "bf16", "f32", "f64")
"""Types of elements that are widened as vectors."""
SCALAR: Final = frozenset("pow erf gelu sin cos random".split())
"""Functions that are computed lane by lane."""


def is_scalar(expr: Expr) -> bool:
    """Whether lanes of an expression are no vectors: integers are divided, which needs places for
    what is read, or a function has no text for vectors."""
    for node in subexpressions(expr):
        match node:
            case Binary(op="//" | "%" | "**", right=right) if not isinstance(right, Int):
                return True
            case Apply(function=function) if function in SCALAR:
                return True
            case _:
                pass
    return False


def _fill(item: Load) -> str:
    """What a lane of a load is where it is not in memory."""
    fill = constant(item.fill if item.fill is not None else 0, item.kind)
    return f"T.Cast({DTYPES[HELD[item.kind]]}, {fill})"


def room_type(kind: Kind) -> str:
    """The type of a tile's elements in memory: truths have a byte, since TVM has no vectors of
    them there."""
    return '"int8"' if kind is Kind.BOOL else DTYPES[HELD[kind]]
