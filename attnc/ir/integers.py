"""What follows of sizes and coordinates: a small prover for inequalities between integers.

An expression is a sum of products of *atoms*: values, coordinates and what is opaque. A quotient
`a // b` is an atom `q` with `b * q <= a < b * q + b`, where `b` is known to be positive; `a % b` is
`a - b * q`. What is known are sums that are never negative, and a claim is one, too. So many ways
are tried to show it, and no more: where the answer is no, it may still be true.

Only integers of 64 bits take part, which are taken not to wrap around. Tiles do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import gcd

from attnc.ir import printer
from attnc.ir.comparisons import pairs
from attnc.ir.expr import Apply, Binary, Bool, Compare, Expr, Int, Logical, Unary, Value, Var
from attnc.ir.nonnegative import Search
from attnc.ir.polynomials import (
    ONE,
    Sum,
    common,
    differences,
    less,
    number,
    plus,
    replaced,
    shared,
    tight,
    times,
)
from attnc.ir.tiles_walk import conjuncts
from attnc.ir.walk import children


@dataclass
class Integers:
    """What is known of integers; `knowing` adds conditions that hold."""

    whole: frozenset[str]
    """Values that are integers of 64 bits."""
    meanings: Mapping[str, Expr] = field(default_factory=dict[str, Expr])
    """What values are computed from."""
    atoms: dict[str, Expr] = field(default_factory=dict[str, Expr])
    facts: list[Sum] = field(default_factory=list[Sum])
    """Sums that are never negative."""
    apart: list[Sum] = field(default_factory=list[Sum])
    """Sums that are never 0."""
    positive: set[str] = field(default_factory=set[str])
    """Atoms that are never negative."""
    divisors: dict[str, Sum] = field(default_factory=dict[str, Sum])
    """Quotients whose divisor is known to be positive, with it."""
    equal: dict[str, Sum] = field(default_factory=dict[str, Sum])
    """Atoms that others stand for."""
    _texts: dict[tuple[frozenset[str], Expr], tuple[str, Expr]] = field(
        default_factory=dict[tuple[frozenset[str], Expr], tuple[str, Expr]],
        compare=False,
        repr=False,
    )
    """How atoms are called, and what they are: whoever knows more of the same shares it."""
    _search: Search | None = field(default=None, compare=False, repr=False)
    """By all of this, until more is known."""
    _around: tuple[int, Integers] | None = field(default=None, compare=False, repr=False)
    """This with what its atoms are by definition, and how many there were then."""

    def knowing(self, conditions: Iterable[Expr], computed: Iterable[Expr] = ()) -> Integers:
        """The same, and that some conditions hold.

        `computed` are expressions that have a value, as those of bindings: no divisor in them is 0.
        """
        found = replace(
            self,
            atoms=dict(self.atoms),
            facts=list(self.facts),
            apart=list(self.apart),
            positive=set(self.positive),
            divisors=dict(self.divisors),
            equal=dict(self.equal),
            _around=None,
        )
        for expr in computed:
            found._divisors_of(expr)
        for condition in conditions:
            for part in conjuncts(condition):
                found._learn(part)
        found._close()
        return found

    # What conditions say

    def _divisors_of(self, expr: Expr) -> None:
        """What is computed has no divisor that is 0."""
        match expr:
            case (
                Binary(op="//" | "%", right=divisor)
                | Apply(function="ceildiv", arguments=(_, divisor))
            ):
                known = self.sum(divisor)
                if known is not None and known not in self.apart:
                    self.apart.append(known)
            case Value(name=name) if name in self.meanings:
                self._divisors_of(self.meanings[name])
                return
            case _:
                pass
        if isinstance(expr, Binary | Compare | Unary) or (
            isinstance(expr, Apply) and expr.function in ("ceildiv", "min", "max", "abs")
        ):
            for child in children(expr):
                self._divisors_of(child)

    def _learn(self, condition: Expr) -> None:
        if not isinstance(condition, Compare):
            return
        for op, left, right in pairs(condition):
            a, b = self.sum(left), self.sum(right)
            if a is None or b is None:
                continue
            match op:
                case "!=":
                    self.apart.append(less(b, a))
                case "==":
                    self._same(less(b, a))
                case _:
                    for fact in differences(op, a, b):
                        self._add(fact)

    def _same(self, nothing: Sum) -> None:
        """Takes note that a sum is 0: one of its atoms is the rest, wherever it stands."""
        for product, factor in sorted(nothing.items()):
            rest: Sum = {m: -c * factor for m, c in nothing.items() if m != product}
            match product:
                case (atom,) if abs(factor) == 1 and all(atom not in m for m in rest):
                    break
                case _:
                    pass
        else:
            self._add(nothing)
            self._add(times(nothing, {ONE: -1}))
            return
        earlier = {a: replaced(m, {atom: rest}) for a, m in self.equal.items()}
        self.equal = {**earlier, atom: rest}
        self._search = None
        facts, self.facts = self.facts, []
        if atom in self.positive:
            facts.append({(atom,): 1})
        for fact in facts:
            self._add(replaced(fact, self.equal))
        self.apart = [replaced(a, self.equal) for a in self.apart]
        self.divisors = {q: replaced(d, self.equal) for q, d in self.divisors.items()}
        self._search = None

    def _add(self, fact: Sum) -> None:
        factor = gcd(*(c for m, c in fact.items() if m != ONE))
        if factor > 1:
            fact = tight(fact, factor)
        if fact in self.facts:
            return
        self.facts.append(fact)
        self._search = None
        if fact.get(ONE, 0) < 0:  # a * x > 0 with a >= 0: x is positive
            for atom in common(fact) & self.positive:
                factors = {m: c for m, c in fact.items() if m != ONE}
                self._add(plus(shared(factors, atom), {ONE: -1}))
        match [(m, c) for m, c in fact.items() if m != ONE]:
            case [((atom,), factor)] if factor > 0 and fact.get(ONE, 0) <= 0:
                self.positive.add(atom)
                self._search = None
            case _:
                pass

    def _close(self) -> None:
        """Adds what atoms are by definition, and numbers that are never 0 and have one sign."""
        described: set[str] = set(self.divisors)
        while True:
            before = len(self.facts), len(described)
            for text, atom in list(self.atoms.items()):
                if text not in described and self._describe(text, atom):
                    described.add(text)
            for other in self.apart:
                for one in (other, times(other, {ONE: -1})):
                    if self.least(one):
                        self._add(plus(one, {ONE: -1}))
            if (len(self.facts), len(described)) == before:
                return

    def _describe(self, text: str, atom: Expr) -> bool:
        """Adds what an atom is; whether nothing is left to be said of it."""
        own = self.equal.get(text, {(text,): 1})
        match atom:
            case (
                Binary(op="//", left=left, right=right)
                | Apply(function="ceildiv", arguments=(left, right))
            ):
                a, b = self._sums((left, right))
                if not self.least(plus(b, {ONE: -1})):
                    return False
                self.divisors[text] = b
                self._search = None
                rest = less(a, times(b, own))  # a - b * q, from 0 on and below b
                if isinstance(atom, Apply):
                    rest = times(rest, {ONE: -1})
                self._add(rest)
                self._add(plus(less(b, rest), {ONE: -1}))
                if self.least(a):
                    self._add(own)
            case Apply(function="max", arguments=arguments):
                for other in self._sums(arguments):
                    self._add(less(own, other))
            case Apply(function="min", arguments=arguments):
                parts = self._sums(arguments)
                for other in parts:
                    self._add(less(other, own))
                if all(map(self.least, parts)):
                    self._add(own)
            case _:
                pass
        return True

    def _sums(self, exprs: Iterable[Expr]) -> list[Sum]:
        """The parts of an atom as sums."""
        found = [self.sum(e) for e in exprs]
        return [s for s in found if s is not None]

    # Sums

    def sum(self, expr: Expr) -> Sum | None:
        """An expression as a sum; None if it is no integer of 64 bits."""
        match expr:
            case Int(value=value):
                return number(value)
            case Value(name=name) if name in self.whole:
                meaning = self.meanings.get(name)
                found = None if meaning is None else self.sum(meaning)
                return self._atom(expr) if found is None else found
            case Var():
                return self._atom(expr)
            case Unary(op="-", operand=operand):
                found = self.sum(operand)
                return None if found is None else times(found, {ONE: -1})
            case Binary(op="+" | "-" | "*" | "//" | "%" as op, left=left, right=right):
                a, b = self.sum(left), self.sum(right)
                return None if a is None or b is None else self._computed(op, a, b, expr)
            case Apply(function="ceildiv" | "min" | "max", arguments=arguments):
                whole = all(self.sum(a) is not None for a in arguments)
                return self._atom(expr) if whole else None
            case _:
                return None

    def _computed(self, op: str, a: Sum, b: Sum, expr: Binary) -> Sum:
        match op:
            case "+":
                return plus(a, b)
            case "-":
                return less(a, b)
            case "*":
                return times(a, b)
            case "%" if self._never_zero(b):
                quotient = self._atom(Binary("//", expr.left, expr.right))
                return less(a, times(b, quotient))
            case _:
                return self._atom(expr)

    def _never_zero(self, number: Sum) -> bool:
        if number.keys() <= {ONE}:
            return bool(number)
        known = number in self.apart or times(number, {ONE: -1}) in self.apart
        return known or self.least(plus(number, {ONE: -1}))

    def _atom(self, expr: Expr) -> Sum:
        found = self._texts.get((self.whole, expr))
        if found is None:
            plain = self._unfolded(expr)
            found = self._texts[self.whole, expr] = printer.expression(plain), plain
        text, plain = found
        self.atoms.setdefault(text, plain)
        return self.equal.get(text, {(text,): 1})

    def _unfolded(self, expr: Expr) -> Expr:
        """An expression with what values are computed from, so that equal ones are one atom."""
        match expr:
            case Value(name=name) if name in self.meanings:
                meaning = self.meanings[name]
                return expr if self.sum(meaning) is None else self._unfolded(meaning)
            case Binary(op=op, left=left, right=right):
                return Binary(op, self._unfolded(left), self._unfolded(right))
            case Apply(function=function, arguments=arguments):
                return Apply(function, tuple(map(self._unfolded, arguments)))
            case _:
                return expr

    # Claims

    def shows(self, condition: Expr) -> bool:
        """Whether a condition is known to hold."""
        match condition:
            case Bool(value=value):
                return value
            case Logical(op="and", left=left, right=right):
                return self.shows(left) and self.shows(right)
            case Logical(op="or", left=left, right=right):
                return self.shows(left) or self.shows(right)
            case Compare():
                if any(self.sum(operand) is None for operand in condition.operands):
                    return False
                around = self._defined()  # and what the atoms in it are by definition
                return all(around._pair(*pair) for pair in pairs(condition))
            case _:
                return False

    def _defined(self) -> Integers:
        """This with what its atoms are by definition, which is the same until there are more."""
        if self._around is None or self._around[0] != len(self.atoms):
            self._around = len(self.atoms), self.knowing(())
        return self._around[1]

    def _pair(self, op: str, left: Expr, right: Expr) -> bool:
        a, b = self.sum(left), self.sum(right)
        if a is None or b is None:
            return False
        if op == "!=":
            return self._never_zero(less(a, b)) or self.least(plus(less(b, a), {ONE: -1}))
        return all(map(self.least, differences(op, a, b)))

    def least(self, claim: Sum) -> bool:
        """Whether a sum is known never to be negative."""
        if self._search is None:
            known = frozenset(self.positive)
            self._search = Search(tuple(self.facts), known, dict(self.divisors))
        return self._search(claim)
