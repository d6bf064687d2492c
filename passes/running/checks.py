"""Checks of a derived basis: as exact sums of products, with numbers, and by SymPy.

Four things must hold for any `x` and any results `r`, `r'`, `r''`: the terms add up to what is
reduced; `phi(x; r') = T(r, r') phi(x; r)`; `T(r, r)` is the identity; and
`T(r, r'') = T(r', r'') T(r, r')`, which makes merging associative. Whatever is streamed, and
every other value, is an opaque number here.

Each claim is shown by exact arithmetic (`exact.py`), which takes no more than milliseconds, and
tried with numbers, which shares nothing with that. Both are done whenever something is derived.
SymPy shows the same once more in the tests.
"""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from attnc.ir import printer
from attnc.ir.expr import Apply, Binary, Choice, Expr, Float, Int, Read, Unary
from attnc.ir.walk import children, rebuild
from attnc.passes.running.build import ZERO, multiplied, product, total
from attnc.passes.running.closure import Basis
from attnc.passes.running.exact import Reader

if TYPE_CHECKING:
    import sympy

TRIES: Final = 8
TOLERANCE: Final = 1e-9


class Wrong(Exception):
    """A derivation that does not hold: a fault of the compiler."""


class NotShownError(Wrong):
    """A claim that numbers bear out, and that exact arithmetic does not show."""


def renamed(results: frozenset[str], suffix: str) -> Callable[[Expr], Expr]:
    """Calls results, and those of before, by another name: what they were earlier still."""

    def rename(expr: Expr) -> Expr:
        if isinstance(expr, Read) and expr.tensor.rstrip("'") in results:
            return Read(expr.tensor + suffix, expr.index, expr.span)
        return rebuild(expr, tuple(rename(c) for c in children(expr)))

    return rename


def claims(basis: Basis, whole: Expr, results: frozenset[str]) -> list[tuple[str, Expr, Expr]]:
    """Pairs of expressions that must be equal, with what each says."""
    once, twice = renamed(results, "'"), renamed(results, "''")
    functions = [phi.expr() for phi in basis.functions]
    size = range(len(functions))

    def transition(old: Callable[[Expr], Expr]) -> list[dict[int, Expr]]:
        return [
            {k: total(e.expr(old) for e in entries) for k, entries in row.items()}
            for row in basis.transition
        ]

    step, leap, rest = transition(once), transition(twice), transition(lambda e: e)
    before = [{k: once(e) for k, e in row.items()} for row in step]  # from twice ago to once ago
    terms = [
        product([c, *map(_indicator, basis.functions[i].where), functions[i]])
        for i, c in basis.coefficients.items()
    ]
    found = [("the terms add up", _indicated(total(terms)), _indicated(whole))]
    for j in size:
        moved = total(multiplied(entry, once(functions[k])) for k, entry in step[j].items())
        found.append((f"T carries function {j}", moved, functions[j]))
        for k in size:
            found.append((f"T at rest, {j},{k}", rest[j].get(k, ZERO), Int(int(j == k))))
            chained = total(
                multiplied(entry, before[i][k]) for i, entry in step[j].items() if k in before[i]
            )
            found.append((f"T chains, {j},{k}", chained, leap[j].get(k, ZERO)))
    return found


def _indicator(condition: Expr) -> Expr:
    """A number that is 1 where a condition holds, else 0; opaque like any other."""
    return Apply("default", (condition,))


def _indicated(expr: Expr) -> Expr:
    """An expression with what depends on conditions as products with indicators."""
    inner = tuple(_indicated(c) for c in children(expr))
    match expr:
        case Choice():
            then, condition, other = inner
            unless = _indicator(Unary("not", condition))
            return total([product([_indicator(condition), then]), product([unless, other])])
        case Apply(function="only"):
            return product([_indicator(inner[1]), inner[0]])
        case _:
            return rebuild(expr, inner)


def check(basis: Basis, whole: Expr, results: frozenset[str], *, symbolic: bool = True) -> None:
    """Raises `Wrong` unless every claim holds; with numbers alone if not `symbolic`.

    It is a `NotShownError` if numbers bear it out.

    What would be too large when multiplied out is tried with numbers alone, too.
    """
    reader = Reader()
    for name, left, right in claims(basis, whole, results):
        if not by_numbers(name, left, right):
            raise Wrong(f"{name}: {_text(left)} is not {_text(right)}")
        if symbolic and reader.equal(left, right) is False:
            raise NotShownError(f"{name}: {_text(left)} is not shown to be {_text(right)}")


def by_numbers(name: str, left: Expr, right: Expr) -> bool:
    """Whether two expressions are equal wherever they are tried; `name` seeds the numbers."""
    atoms = sorted(_atoms(left) | _atoms(right))
    generator = random.Random(name)
    for _ in range(TRIES):
        numbers = {a: generator.uniform(0.5, 2.0) for a in atoms}
        try:
            a, b = _number(left, numbers), _number(right, numbers)
        except (ArithmeticError, ValueError):
            continue  # outside of where the expressions are defined
        if not math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            return False
    return True


def _text(expr: Expr) -> str:
    return printer.expression(expr)


ARITHMETIC: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}
FUNCTIONS: Final[Mapping[str, Callable[[float], float]]] = {
    "exp": math.exp,
    "exp2": math.exp2,
    "expm1": math.expm1,
    "log": math.log,
    "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "sin": math.sin,
    "cos": math.cos,
    "abs": abs,
    "log2": math.log2,
}


def _is_atom(expr: Expr) -> bool:
    match expr:
        case Int() | Float() | Unary(op="-"):
            return False
        case Binary(op=op):
            return op not in ARITHMETIC
        case Apply(function=name):
            return name not in FUNCTIONS
        case _:
            return True


def _atoms(expr: Expr) -> set[str]:
    if _is_atom(expr):
        return {_text(expr)}
    return {a for child in children(expr) for a in _atoms(child)}


def _number(expr: Expr, numbers: Mapping[str, float]) -> float:
    if _is_atom(expr):
        return numbers[_text(expr)]
    match expr:
        case Int(value=value) | Float(value=value):
            return float(value)
        case Unary(operand=operand):
            return -_number(operand, numbers)
        case Binary(op=op, left=left, right=right):
            return float(ARITHMETIC[op](_number(left, numbers), _number(right, numbers)))
        case Apply(function=name, arguments=(argument,)):
            return FUNCTIONS[name](_number(argument, numbers))
        case _:
            raise AssertionError(expr)


def by_sympy(left: Expr, right: Expr) -> bool:
    """Whether SymPy shows two expressions to be equal, all atoms being positive numbers."""
    import sympy

    symbols: dict[str, Any] = {}
    difference = _symbolic(left, symbols) - _symbolic(right, symbols)
    if difference == 0:
        return True
    if sympy.expand(difference) == 0:
        return True
    turned = difference.rewrite(sympy.exp)  # angles become exponents, which expand quickly
    return bool(sympy.expand(turned) == 0 or sympy.simplify(difference) == 0)


def _symbolic(expr: Expr, symbols: dict[str, Any]) -> sympy.Expr:
    import sympy

    if _is_atom(expr):
        text = _text(expr)
        return symbols.setdefault(text, sympy.Symbol(f"a{len(symbols)}", positive=True))
    match expr:
        case Int(value=value):
            return sympy.Integer(value)
        case Float(value=value):
            return sympy.nsimplify(value, rational=True)
        case Unary(operand=operand):
            return -_symbolic(operand, symbols)
        case Binary(op=op, left=left, right=right):
            a, b = _symbolic(left, symbols), _symbolic(right, symbols)
            return ARITHMETIC[op](a, b)
        case Apply(function=name, arguments=(argument,)):
            inner = _symbolic(argument, symbols)
            match name:
                case "exp2":
                    return sympy.Integer(2) ** inner
                case "expm1":
                    return sympy.exp(inner) - 1
                case "rsqrt":
                    return 1 / sympy.sqrt(inner)
                case "log2":
                    return sympy.log(inner) / sympy.log(2)
                case "abs":
                    return sympy.Abs(inner)
                case _:
                    return getattr(sympy, name)(inner)
        case _:
            raise AssertionError(expr)
