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
    Unary,
)
from attnc.ir.tiles import Carry, Loop, Range
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.running.build import multiplied, power, product, total
from attnc.passes.running.checks import renamed
from attnc.passes.running.derive import Extreme, Plain, Running, Sum
from attnc.passes.running.terms import Factor, Phi
from attnc.passes.tiling.lower import Block, NotLowered, Scope
from attnc.passes.tiling.presence import FALSE, TRUE, Valued, both, chosen, conjuncts, either


@dataclass
class _State:
    """What one reduction carries: its sums or extreme, and whether a point was present."""

    form: Running
    axes: tuple[str, ...]
    tiles: list[str] = field(default_factory=list)
    seen: str = ""
    now: Expr = FALSE
    where: Expr = FALSE


class LoopBuilder:
    """Builds the loop over one axis; `over` are all axes that its reductions combine."""

    def __init__(
        self,
        scope: Scope,
        outside: Block,
        over: tuple[str, ...],
        einsums: Mapping[str, Einsum],
        forms: Sequence[Running],
    ) -> None:
        self.scope = scope
        self.streamed: str = over[0]
        self.over = over
        self.einsums = einsums
        self.forms = forms
        self.names: frozenset[str] = frozenset(f.tensor for f in forms)
        self.block: Block = Block(
            scope, outside, frozenset(over), self.names | {f"{n}'" for n in self.names}
        )
        self.states: dict[str, _State] = {}
        self.carries: list[Carry] = []
        self.old: Callable[[Expr], Expr] = renamed(self.names, "'")

    def build(self) -> Loop:
        """The loop statement."""
        for form in self.forms:
            self._declare(form)
        nexts: dict[str, Expr] = {}
        for form in self.forms:
            nexts.update(self._step(form))
        size = self.scope.size(self.streamed)
        carries = tuple(replace(c, next=nexts[c.name]) for c in self.carries)
        return Loop(self.streamed, (Range(Int(0), size),), carries, tuple(self.block.statements))

    def _declare(self, form: Running) -> None:
        axes = tuple(v for v in self.scope.order if v in self.einsums[form.tensor].variables)
        state = self.states[form.tensor] = _State(form, axes)
        base = form.tensor.lower()
        kind = self.scope.facts.types[form.tensor].kind
        match form:
            case Sum(basis=basis):
                starts: list[tuple[Expr, Kind]] = [(Int(0), kind)] * len(basis.functions)
            case Plain(op=op) | Extreme(op=op):
                starts = [(identity(op, kind), Kind.I64 if op == "count" else kind)]
        for start, of in starts:
            state.tiles.append(self._carry(base, axes, of, start))

    def _carry(self, base: str, axes: tuple[str, ...], kind: Kind, start: Expr) -> str:
        name = self.block._new(base, axes, kind)
        self.carries.append(Carry(name, axes, kind, start, start))
        return name

    # One round

    def _step(self, form: Running) -> dict[str, Expr]:
        """The next values of what a reduction carries; its result is then known to later ones."""
        state = self.states[form.tensor]
        found: dict[str, Expr] = {}
        match form:
            case Plain(op=op, body=body) | Extreme(op=op, inner=body):
                one = self.block(body)
                where = self._where(one.here, body)
                if op == "count":
                    counted = self._where(both(one.here, one.value), body)
                    tile = self.block.fold("sum", self.over, Int(1), counted, "t")
                else:
                    tile = self.block.fold(op, self.over, one.value, where, "t")
                self._see(state, where, found)
                new: list[Expr] = [self.block.tile(combined(op, Name(state.tiles[0]), tile), "t")]
            case Sum(basis=basis):
                body = self._body(form.tensor)
                # a term is present where all that is reduced is, whatever the term itself holds
                whole = self._where(self.block(body).here, body)
                functions = [self._phi(phi, whole) for phi in basis.functions]
                self._see(state, whole, found)
                new = []
                for j, (value, here) in enumerate(functions):
                    tile = self.block.fold("sum", self.over, value, here, "t")
                    carried = Binary("+", self._carried(state, j), tile)
                    new.append(self.block.tile(carried, "t"))
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

    def _where(self, here: Expr, body: Expr) -> Expr:
        """Where lanes of this tile count.

        That a result they read was seen must follow from themselves: else a point could come to
        count only later. Raises `NotLowered` if it does not.
        """
        parts = conjuncts(both(self.scope.valid(self.over), here))
        known = [state for state in self.states.values() if state.seen]
        for state in known:
            if state.now in parts and set(conjuncts(state.where)) <= set(parts):
                parts.remove(state.now)
        now = {state.now.name for state in known if isinstance(state.now, Name)}
        for part in parts:
            for node in subexpressions(part):
                if isinstance(node, Name) and node.name in now:
                    raise NotLowered(body, "which points count depends on an earlier result")
        return both(*parts)

    def _see(self, state: _State, where: Expr, found: dict[str, Expr]) -> None:
        """Carries whether a point was present, once for all that are present alike."""
        state.where = where
        for other in self.states.values():
            if other.seen and other.where == where:
                state.seen, state.now = other.seen, other.now
                return
        some = self.block.fold("any", self.over, TRUE, where, "some")
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

    def _carried(self, state: _State, j: int) -> Expr:
        """Row j of T times the state, 0 while nothing was seen."""
        assert isinstance(state.form, Sum)
        terms = []
        for k, entries in state.form.basis.transition[j].items():
            entry = total(e.expr(self.old) for e in entries)
            factor = self.block(_at_rest(entry, self.old, self.names))
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
                found = Valued(tiles[0])
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


def _at_rest(entry: Expr, old: Callable[[Expr], Expr], names: frozenset[str]) -> Expr:
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
    return rebuild(entry, tuple(_at_rest(c, old, names) for c in children(entry)))


def identity(op: str, kind: Kind) -> Expr:
    """What leaves every value as it is under an operation."""
    match op:
        case "sum" | "count":
            return Int(0)
        case "prod":
            return Int(1)
        case "any":
            return FALSE
        case "all":
            return TRUE
        case "max" | "min" if kind.floating:
            return Unary("-", Float(float("inf"))) if op == "max" else Float(float("inf"))
        case "max" | "min":
            bits = 31 if kind is Kind.I32 else 63
            least = Unary("-", Int(2**bits - 1))
            return least if op == "max" else Int(2**bits - 1)
        case _:
            raise NotLowered(Int(0), f"{op} has no running form")


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
