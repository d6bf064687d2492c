"""What each lane of a tile is, as lines of text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from attnc.backends.elements import constant
from attnc.backends.triton.terms import HELD, Term
from attnc.backends.tvm.loops import Loops
from attnc.backends.tvm.nests import Nest, across, nests
from attnc.backends.tvm.scope import is_divided
from attnc.backends.tvm.terms import DTYPES, KEPT
from attnc.ir.expr import Apply, Binary, Expr, Int
from attnc.ir.printer import AND, OR, PRODUCT, SUM
from attnc.ir.tiles import Fold, Load, Map, Scan
from attnc.ir.tiles_walk import expressions, names
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions

IDENTITIES: Final = {"sum": "0", "prod": "1", "any": "False", "all": "True"}
BESIDE: Final = {"sum": SUM + 1, "prod": PRODUCT + 1, "any": OR}
"""How closely what stands behind an operator must bind."""
PLACES: Final = re.compile(r"\b_floor(div|mod)\(")
"""Helpers that keep numbers in places of their own, of which there are no vectors."""
SCALAR: Final = frozenset("pow erf gelu".split())
"""Functions that are computed lane by lane."""


LONG: Final = frozenset("exp exp2 expm1 log log2 log1p tanh sigmoid silu softplus gelu".split())
"""Functions of which many operations are written out."""


@dataclass
class Lanes(Loops):
    """Prints what lanes are, in loops that several statements share."""

    def _nest_of(self, item: Load | Map | Fold) -> None:
        for found in nests([item], self.scope):
            assert isinstance(found, Nest)
            self._nest(found)

    def _nest(self, nest: Nest) -> None:
        """Prints loops over lanes, behind what folds begin with."""
        scope = self.scope
        for item in nest.items:
            if isinstance(item, Fold):
                self._begin(item)
        inside = Counter(n for i in nest.items for n in names(*expressions(i)))
        plain = self._is_plain(nest)
        heads = len(self.lines)
        with self.level():
            self._loops(nest.loops, vector=not plain)
            first = len(self.lines)
            numbers = self._numbers(nest.items, inside)
            for item in nest.items:
                self._lane(item, local=item.target in numbers, vector=not plain)
        if len(self.lines) == first:  # all of it is where it shall be
            del self.lines[heads:]
        scope.numbers.clear()
        self._plain_with_places(heads)

    def _numbers(
        self, items: Sequence[Load | Map | Fold], inside: Mapping[str, int]
    ) -> frozenset[str]:
        """The maps that are no more than a number in the loops of some statements, as no others
        read them; `inside`: how often these do.

        A truth is written out where it is read. It is none of them if what it is made of changes
        until then.
        """
        scope, found, made = self.scope, set[str](), dict[str, set[str]]()
        for place, item in enumerate(items):
            if not isinstance(item, Map) or item.target in self._aliases:
                continue
            if not inside[item.target] == self.uses[item.target] > 0:
                continue
            if item.kind is Kind.BOOL:
                own = names(item.value)
                of = {scope.buffer(n) for n in own if n in scope.layouts}
                of = of.union(*(made.get(n, set()) for n in own))
                later = [items[i] for i in range(place + 1, len(items))]
                last = max(i for i, x in enumerate(later) if item.target in names(*expressions(x)))
                if of & {scope.buffer(x.target) for x in later[:last]}:
                    continue
                made[item.target] = of
            found.add(item.target)
        return frozenset(found - _too_deep(items, found))

    def _plain_with_places(self, start: int) -> None:
        """Makes no vectors of the loops from a line on, if a number there is kept in a place."""
        lines = self.lines[start:]
        if any(PLACES.search(line) for line in lines):
            self.lines[start:] = [line.replace("in _each(", "in range(") for line in lines]

    def _is_plain(self, nest: Nest) -> bool:
        """Whether loops over lanes are no vectors."""
        if any(isinstance(i, Load) or across(i, self.scope) for i in nest.items):
            return True
        return any(is_scalar(e, self._is_laned) for i in nest.items for e in expressions(i))

    def _is_laned(self, expr: Expr) -> bool:
        """Whether an expression differs between the lanes of a vector."""
        return self.scope.vector in self.scope.context.varies(expr)

    def _begin(self, item: Fold) -> None:
        """What a fold begins with."""
        scope = self.scope
        self._room(item.target)
        with self.level():
            self._loops(scope.layouts[item.target], vector=True)
            if item.op in ("argmax", "argmin"):
                some, best = self._best(item)
                self.line(f"{self._element(some, item.target)} = T.int8(0)")
                kind = DTYPES[HELD[scope.context.kind(item.value)]]
                self.line(f"{self._element(best, item.target)} = T.Cast({kind}, 0)")
                self.line(f"{scope.element(item.target)} = T.Cast({DTYPES[HELD[item.kind]]}, 0)")
            else:
                self._assign(
                    scope.element(item.target), item.kind, self._identity(item.op, item.kind)
                )

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

    def _read(self, item: Load) -> str:
        """A lane of a load in the type that it is held in."""
        text, dtype = self.memory.read(item), DTYPES[HELD[item.kind]]
        return self._masked_read(item, self._mask(item.where), text, dtype)

    def _masked_read(self, item: Load, mask: Term, text: str, dtype: str = '"uint16"') -> str:
        """An element, or what is there where a load has none."""
        if mask.true:
            return text
        fill = f"T.Cast({dtype}, 0)" if dtype == '"uint16"' else fill_of(item)
        return f"T.if_then_else({mask.text}, {text}, {fill})"

    def _accumulate(self, item: Fold) -> None:
        if item.op in ("argmax", "argmin"):
            self._extreme(item, self._truth(item.where))
            return
        element, value = self._sum_of(item), self._taken_in(item)
        self._assign(
            element, item.kind, self._combined(item.op, item.kind, element, value, item.target)
        )

    def _taken_in(self, item: Fold | Scan) -> str:
        """What a lane adds to a fold or a scan, as it stands beside the operator."""
        here = self._truth(item.where)
        if not here.true:
            value, identity = self._typed(item.value, item.kind), self._identity(item.op, item.kind)
            return f"_where({here.text}, {value}, {identity})"
        term = self.expression.held(self._value(item.value, item.kind), HELD[item.kind])
        text = self.expression.as_tensor(term)
        tight = term.literal or term.level >= BESIDE.get(item.op, 0)
        return text if tight else f"({text})"

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


def is_scalar(expr: Expr, laned: Callable[[Expr], bool] = lambda _: True) -> bool:
    """Whether lanes of an expression are no vectors: integers are divided lane by lane, which needs
    places for what is read, or a function has no text for vectors.

    `laned` tells of an expression whether it differs between lanes.
    """
    for node in subexpressions(expr):
        match node:
            case Binary(op="**", right=right) if not isinstance(right, Int):
                return True
            case Binary() if is_divided(node) and laned(node):
                return True
            case Apply(function=function) if function in SCALAR:
                return True
            case _:
                pass
    return False


def _too_deep(items: Sequence[Load | Map | Fold], numbers: Collection[str]) -> set[str]:
    """Numbers that are made by long functions and read by others: they have a place, for TVM would
    write one out at each step of the other, and take minutes for three."""
    made, found = set[str](), set[str]()
    for item in items:
        deep = names(*expressions(item)) & made - found
        if any(map(_is_long, expressions(item))):
            found |= deep
            made.add(item.target)
        elif deep:
            made.add(item.target)
        made &= {*numbers}
    return found


def _is_long(expr: Expr) -> bool:
    functions = (n.function for n in subexpressions(expr) if isinstance(n, Apply))
    return not LONG.isdisjoint(functions)


def fill_of(item: Load) -> str:
    """What a lane of a load is where it is not in memory."""
    fill = constant(item.fill if item.fill is not None else 0, item.kind)
    return f"T.Cast({DTYPES[HELD[item.kind]]}, {fill})"
