"""The loop of a kernel: running forms as tiles that are carried from round to round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from attnc.ir.cascade import Einsum
from attnc.ir.expr import (
    Apply,
    Binary,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Name,
    Read,
    Reduce,
    Scan,
)
from attnc.ir.tiles import Carry, Loop, Range, Store
from attnc.ir.types import Kind, Origin
from attnc.ir.walk import bound, children, rebuild, subexpressions
from attnc.passes.running.build import multiplied, power, product, total
from attnc.passes.running.checks import renamed
from attnc.passes.running.derive import Extreme, Plain, Running, Sum
from attnc.passes.running.terms import Factor, Phi
from attnc.passes.tiling.identities import identity, literal
from attnc.passes.tiling.lower import Block, Scope
from attnc.passes.tiling.presence import (
    FALSE,
    TRUE,
    Valued,
    both,
    chosen,
    conjuncts,
    either,
    negation,
)


class Late(Exception):
    """A result of which some points count only when an earlier one is finished."""

    def __init__(self, tensor: str, term: Expr) -> None:
        super().__init__("which points count depends on an earlier result")
        self.tensor: str = tensor
        self.term: Expr = term


@dataclass
class State:
    """What one reduction carries: its sums or extreme, and whether a point was present."""

    form: Running
    axes: tuple[str, ...]
    tiles: list[str] = field(default_factory=list)
    seen: str = ""
    now: Expr = FALSE
    where: Expr = FALSE


class LoopBlock(Block):
    """The statements of one round; a scan along the stream carries on from round to round."""

    builder: LoopBuilder

    def scanned(self, op: str, expr: Scan, value: Expr, where: Expr) -> Expr:
        one = super().scanned(op, expr, value, where)
        if expr.variable not in self.builder.over:
            return one
        return self.builder.carried_on(op, expr, one, value, where)


class LoopBuilder:
    """Builds the loops over streamed axes, the first of `over` outermost."""

    def __init__(
        self,
        scope: Scope,
        outside: Block,
        over: tuple[str, ...],
        einsums: Mapping[str, Einsum],
        forms: Sequence[Running],
        *,
        backward: bool = False,
    ) -> None:
        self.scope = scope
        self.over = over
        self.einsums = einsums
        self.forms = forms
        self.backward = backward
        self.names: frozenset[str] = frozenset(f.tensor for f in forms)
        self.blocks: list[Block] = [outside]
        for variable in over[:-1]:
            self.blocks.append(Block(scope, self.blocks[-1], frozenset((variable,))))
        moving = self.names | {f"{n}'" for n in self.names}
        self.block: LoopBlock = LoopBlock(scope, self.blocks[-1], frozenset(over[-1:]), moving)
        self.block.builder = self
        self.blocks.append(self.block)
        self.states: dict[str, State] = {}
        self.carries: list[Carry] = []
        self.nexts: dict[str, Expr] = {}
        self.old: Callable[[Expr], Expr] = renamed(self.names, "'")

    def build(
        self, rows: Sequence[Einsum], store: Callable[[Einsum, Valued], Sequence[Store]]
    ) -> Loop:
        """The loop statement; each row is stored in each round."""
        for row in rows:  # none of them needs a result of this loop
            value = self.block(row.value)
            here = value.here
            value = Valued(self.block.tile(value.value, row.tensor.lower()), here)
            self.scope.results[row.tensor] = value
            self.block.statements += store(row, value)
        for form in self.forms:
            self._declare(form)
        for form in self.forms:
            self.nexts.update(self._step(form))
        carries = tuple(
            replace(c, next=self.block.held(self.nexts[c.name], c.kind)) for c in self.carries
        )
        loop = self._loop(self.over[-1], carries, self.block)
        for variable, block in zip(self.over[-2::-1], self.blocks[-2:0:-1], strict=True):
            loop = self._around(variable, block, loop)
        return loop

    def _loop(self, axis: str, carries: tuple[Carry, ...], block: Block) -> Loop:
        ranges = (Range(Int(0), self.scope.size(axis)),)
        return Loop(axis, ranges, carries, tuple(block.statements), backward=self.backward)

    def _around(self, axis: str, block: Block, inner: Loop) -> Loop:
        """A loop around another, which carries on what that one ends with."""
        outer: list[Carry] = []
        begun: list[Carry] = []
        for carry in inner.carries:
            name = block.new(
                carry.name,
                carry.axes,
                carry.kind,
                self.scope.origins.get(carry.name, Origin.TENSOR),
            )
            outer.append(replace(carry, name=name, next=Name(carry.name)))
            begun.append(replace(carry, start=Name(name)))
        block.statements.append(replace(inner, carries=tuple(begun)))
        new = {c.name: o.name for c, o in zip(inner.carries, outer, strict=True)}
        for state in self.states.values():
            state.tiles = [new.get(t, t) for t in state.tiles]
            state.seen = new.get(state.seen, state.seen)
        return self._loop(axis, tuple(outer), block)

    def _over(self, tensor: str) -> tuple[str, ...]:
        """All axes that a reduction combines, the streamed ones first."""
        value = self.einsums[tensor].value
        found = value.variables if isinstance(value, Reduce) else bound(value)
        return tuple(v for v in self.scope.order if v in found)

    def _declare(self, form: Running) -> None:
        axes = tuple(v for v in self.scope.order if v in self.einsums[form.tensor].variables)
        state = self.states[form.tensor] = State(form, axes)
        base = form.tensor.lower()
        kind = self.scope.facts.types[form.tensor].kind
        match form:
            case Sum(basis=basis):
                starts: list[tuple[Expr, Kind]] = [(Int(0), kind)] * len(basis.functions)
            case Plain(op="argmax" | "argmin" as op, body=body):
                of = self.scope.number(body).kind
                starts = [(initial(op[3:], of), of), (Int(0), Kind.I64)]
            case Plain(op=op) | Extreme(op=op):
                starts = [(initial(op, kind), Kind.I64 if op == "count" else kind)]
        for start, of in starts:
            origin = self.scope.facts.types[form.tensor].origin
            state.tiles.append(self._carry(base, axes, of, start, origin))

    def _carry(
        self,
        base: str,
        axes: tuple[str, ...],
        kind: Kind,
        start: Expr,
        origin: Origin = Origin.TENSOR,
    ) -> str:
        name = self.block.new(base, axes, kind, origin)
        self.carries.append(Carry(name, axes, kind, start, start))
        return name

    def carried_on(self, op: str, expr: Scan, one: Expr, value: Expr, where: Expr) -> Expr:
        """A scan of this tile, `one`, and of those before it."""
        assert isinstance(one, Name)
        last = self.block.fold(op, (expr.variable,), value, where, "t")
        axes, kind = self.scope.axes[last.name], self.scope.kinds[one.name]
        origin = self.scope.origins.get(one.name, Origin.TENSOR)
        carry = self._carry("c" if op != "any" else "seen", axes, kind, initial(op, kind), origin)
        self.nexts[carry] = self.block.tile(combined(op, Name(carry), last), "t")
        return self.block.tile(combined(op, Name(carry), one), "t")

    # One round

    def _step(self, form: Running) -> dict[str, Expr]:
        """The next values of what a reduction carries; its result is then known to later ones."""
        state = self.states[form.tensor]
        found: dict[str, Expr] = {}
        over = self._over(form.tensor)
        match form:
            case Plain(op="argmax" | "argmin"):
                new: list[Expr] = self._extreme(form, state, over, found)
            case Plain(op=op, body=body) | Extreme(op=op, inner=body):
                one = self.block(body)
                where = self._where(form.tensor, one.here, body)
                if op == "count":
                    counted = self._where(form.tensor, self.block.holds(body), body)
                    tile = self.block.fold("sum", over, Int(1), counted, "t")
                else:
                    tile = self.block.fold(op, over, one.value, where, "t")
                self._see(state, over, where, found)
                new = [self.block.tile(combined(op, Name(state.tiles[0]), tile), "t")]
            case Sum(basis=basis):
                body = self._body(form.tensor)
                # a term is present where all that is reduced is, whatever the term itself holds
                whole = self._where(form.tensor, self.block(body).here, body)
                functions = [self._phi(phi, whole) for phi in basis.functions]
                self._see(state, over, whole, found)
                new = []
                for j, (value, here) in enumerate(functions):
                    tile = self.block.fold("sum", over, value, here, "t")
                    carried = Binary("+", self._carried(state, j), tile)
                    new.append(self.block.tile(carried, "t"))
        return self._finished(form, state, new, found)

    def _finished(
        self, form: Running, state: State, new: Sequence[Expr], found: dict[str, Expr]
    ) -> dict[str, Expr]:
        """Notes the next values of a state, and what result it stands for before and after."""
        found.update(zip(state.tiles, new, strict=True))
        states = [Name(t) for t in state.tiles]
        old = self._result(self.block, form, states, Name(state.seen), "'")
        self.scope.results[f"{form.tensor}'"] = old
        self.scope.results[form.tensor] = self._result(self.block, form, new, state.now)
        return found

    def _body(self, tensor: str) -> Expr:
        """What a reduction combines."""
        value = self.einsums[tensor].value
        assert isinstance(value, Reduce)
        return value.body

    def _extreme(
        self, form: Plain, state: State, over: tuple[str, ...], found: dict[str, Expr]
    ) -> list[Expr]:
        """The first index of an extreme, which is carried beside it; NaN is one."""
        one = self.block(form.body)
        where = self._where(form.tensor, one.here, form.body)
        tile = self.block.fold(form.op[3:], over, one.value, where, "t")
        first = self.block.fold(form.op, over, one.value, where, "i")
        self._see(state, over, where, found)
        return self._better(form, state, tile, first, where)

    def _better(
        self, form: Plain, state: State, tile: Expr, first: Expr, where: Expr
    ) -> list[Expr]:
        """The extreme and its first index, of what was seen and of this tile's own."""
        best, at = (Name(t) for t in state.tiles)
        some = self.block.fold("any", self._over(form.tensor), TRUE, where, "some")
        more: Expr = Compare((">",) if form.op == "argmax" else ("<",), (tile, best))
        same: Expr = Compare(("==",), (tile, best))
        if self.scope.kind(tile).floating:
            odd, was = (Compare(("!=",), (x, x)) for x in (tile, best))
            more = either(more, both(odd, Compare(("==",), (best, best))))
            same = either(same, both(odd, was))
        earlier = both(same, Compare(("<",), (first, at)))
        better = either(negation(Name(state.seen)), either(more, earlier))
        taken = self.block.tile(both(some, better), "better")
        return [
            self.block.tile(combined(form.op[3:], best, tile), "t"),
            self.block.tile(Choice(taken, first, at), "t"),
        ]

    def _where(self, tensor: str, here: Expr, body: Expr) -> Expr:
        """Where lanes of this tile count.

        That a result they read was seen must follow from themselves: else a point could come to
        count only later. Raises `Late` if it does not.
        """
        parts = conjuncts(both(self.scope.valid(self._over(tensor)), here))
        known = [state for state in self.states.values() if state.seen]
        for state in known:
            if state.now in parts and set(conjuncts(state.where)) <= set(parts):
                parts.remove(state.now)
        now = {state.now.name for state in known if isinstance(state.now, Name)}
        for part in parts:
            for node in subexpressions(part):
                if isinstance(node, Name) and node.name in now:
                    raise Late(tensor, body)
        return both(*parts)

    def _see(
        self, state: State, over: tuple[str, ...], where: Expr, found: dict[str, Expr]
    ) -> None:
        """Carries whether a point was present, once for all that are present alike."""
        state.where = where
        for other in self.states.values():
            if other.seen and other.where == where:
                state.seen, state.now = other.seen, other.now
                return
        some = self.block.fold("any", over, TRUE, where, "some")
        axes = self.scope.axes[some.name]
        state.seen = self._carry("seen", axes, Kind.BOOL, FALSE)
        state.now = self.block.tile(either(Name(state.seen), some), "now")
        found[state.seen] = state.now

    def _phi(self, phi: Phi, whole: Expr) -> tuple[Expr, Expr]:
        """A basis function on this tile, and where its points count."""
        parts = [self._factor(factor, exponent) for factor, exponent in phi.mixed]
        parts += [self.block(power(e, x)) for e, x in phi.streamed]
        conditions = [self.block(c) for c in phi.where]
        holds = both(*(both(c.here, c.value) for c in conditions))
        return product(p.value for p in parts), both(whole, holds)

    def _factor(self, factor: Factor, exponent: Fraction) -> Valued:
        """A factor that mixes; an exponential is 0 while what it is relative to is infinite."""
        one = self.block(factor.expr(exponent))
        if factor.function != "exp":
            return one
        steady = self.block(factor.coordinate.steady)
        infinite = Compare(("==",), (Apply("abs", (steady.value,)), Float(float("inf"))))
        return Valued(self.block.tile(chosen(infinite, Int(0), one.value), "p"), one.here)

    def _carried(self, state: State, j: int) -> Expr:
        """Row j of T times the state, 0 while nothing was seen."""
        assert isinstance(state.form, Sum)
        terms = []
        for k, entries in state.form.basis.transition[j].items():
            entry = total(e.expr(self.old) for e in entries)
            factor = self.block(at_rest(entry, self.old, self.names))
            terms.append(multiplied(factor.value, Name(state.tiles[k])))
        if state.form.basis.constant:
            return total(terms)
        return chosen(Name(state.seen), total(terms), Int(0))

    def _result(
        self, block: Block, form: Running, tiles: Sequence[Expr], seen: Expr, suffix: str = ""
    ) -> Valued:
        """The result that a state stands for; with the suffix, as of before this round."""
        before = dict(self.scope.results)
        known = self.scope.results
        known.update({n: known[f"{n}{suffix}"] for n in self.names if f"{n}{suffix}" in known})
        match form:
            case Plain():
                found = Valued(tiles[-1])
            case Extreme(result=result):
                known[form.tensor] = Valued(tiles[0])
                found = block.again(result)
            case Sum():
                parts = [block.again(c) for _, c in form.result]
                terms = (
                    multiplied(p.value, tiles[i])
                    for p, (i, _) in zip(parts, form.result, strict=True)
                )
                found = Valued(total(terms), both(*(p.here for p in parts)))
        self.scope.results = before
        value = block.tile(found.value, form.tensor.lower())
        return Valued(value, both(found.here, seen))

    def final(self, block: Block, form: Running) -> Valued:
        """The result after the loop."""
        state = self.states[form.tensor]
        found = self._result(block, form, [Name(t) for t in state.tiles], Name(state.seen))
        always = isinstance(form, Plain) and form.op in ("count", "any", "all")
        return Valued(found.value, TRUE) if always else found


def at_rest(entry: Expr, old: Callable[[Expr], Expr], names: frozenset[str]) -> Expr:
    """An entry of T with every change written so that equal results give no change at all.

    `m' - m` is 0 where both are the same infinity.
    """
    match entry:
        case Binary(op="-", left=left, right=right):
            before = {e.tensor.rstrip("'") for e in subexpressions(entry) if isinstance(e, Read)}
            if before & names and (left == old(right) or right == old(left)):
                return Choice(Compare(("==",), (left, right)), Int(0), entry)
        case _:
            pass
    return rebuild(entry, tuple(at_rest(c, old, names) for c in children(entry)))


def initial(op: str, kind: Kind) -> Expr:
    """What leaves every value as it is under an operation."""
    return literal(identity(op, kind))


def combined(op: str, a: Expr, b: Expr) -> Expr:
    """Two partial reductions as one."""
    match op:
        case "sum" | "count":
            return Binary("+", a, b)
        case "prod":
            return Binary("*", a, b)
        case "any":
            return either(a, b)
        case "all":
            return both(a, b)
        case _:
            return Apply(op, (a, b))
