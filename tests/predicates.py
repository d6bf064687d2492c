"""Random conditions over coordinates, and what their ranges must be, by looking at each point."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnc import api
from attnc.ir.evaluation import computed
from attnc.ir.expr import Apply, Expr, Int, Value, Var
from attnc.ir.facts import Facts
from attnc.ir.tiles import Kernel, Let, Loop, Plan, Statement
from attnc.ir.walk import children, rebuild
from tests.agreement import function

PARAMETERS = ("a", "b", "w", "r")
"""Integer parameters; `r` is what is divided by, and positive."""


@dataclass(frozen=True)
class Grammar:
    """Which conditions are made. `affine`: those whose tiles are to be exact."""

    rng: random.Random
    affine: bool = True

    def condition(self, depth: int = 2) -> str:
        """A condition over `h`, `m`, `n` and parameters."""
        rng = self.rng
        if depth and rng.random() < 0.55:
            a, b = self.condition(depth - 1), self.condition(depth - 1)
            return f"({a} {rng.choice(('and', 'and', 'or'))} {b})"
        if depth and rng.random() < 0.15:
            return f"not ({self.condition(depth - 1)})"
        return self.atom()

    def atom(self) -> str:
        """One comparison."""
        rng = self.rng
        kinds = ["plain", "plain", "far", "window", "block", "number"]
        kinds += ["abs", "min", "clip", "head", "scaled"]
        if not self.affine:
            kinds += ["beat", "beat", "mixed", "remainder", "choice", "rows", "product"]
        op = rng.choice(("<", "<=", ">", ">=", "=="))
        c = self.number()
        match rng.choice(kinds):
            case "plain":
                return f"n {op} m + {c}"
            case "far":
                return f"{rng.choice(('n', 'm'))} {op} {c}"
            case "window":
                return f"{c} <= m - n < {self.number()} + w"
            case "block":
                return f"n // {self.divisor()} {op} m // {self.divisor()}"
            case "number":
                return f"(n + {c}) // {self.divisor()} {op} {self.number()}"
            case "abs":
                return f"abs(m - n + {c}) {rng.choice(('<', '<=', '>', '>='))} w"
            case "min":
                return f"n {op} {rng.choice(('min', 'max'))}(m, {c})"
            case "clip":
                return f"n {rng.choice(('<', '>='))} clip(m - {c}, 0, N - w)"
            case "head":
                return f"n {op} m - h * {rng.randint(1, 5)}"
            case "scaled":
                return f"{rng.randint(2, 3)} * n {op} m + {c}"
            case "beat":
                return f"(m - n) % {self.divisor()} {rng.choice(('==', '<'))} {rng.randint(0, 2)}"
            case "mixed":
                return f"(m - n + {c}) // {self.divisor()} {op} {rng.randint(-2, 2)}"
            case "remainder":
                return f"n % {self.divisor()} {op} {rng.randint(0, 4)}"
            case "choice":
                return f"(n if m < {c} else n + 3) {op} m"
            case "rows":
                return f"abs(m % r - n % r) <= {rng.randint(0, 2)}"
            case _:
                return f"m * n {op} {c} * 4"

    def number(self) -> str:
        """A number or a parameter."""
        return self.rng.choice((str(self.rng.randint(0, 20)), "a", "b", "(N - M)", "(0 - a)"))

    def divisor(self) -> str:
        """What is divided by."""
        return self.rng.choice(("r", str(self.rng.randint(2, 9))))


def spec(condition: str) -> str:
    """A cascade whose only loop goes along `n`, where a condition holds."""
    values = ", ".join(f"{p}: int = 1" for p in PARAMETERS)
    return (
        f"cascade points(A[H], C[M], X[N], {values}) -> O[H,M]:\n"
        f"    require r > 0\n"
        f"    O[h,m] = max[n](only(A[h] + C[m] + X[n], {condition}))\n"
    )


def presence(condition: str) -> Any:
    """The unoptimised function that gives 1 where a condition holds, by `h`, `m` and `n`."""
    values = ", ".join(f"{p}: int = 1" for p in PARAMETERS)
    text = (
        f"cascade points(A[H], C[M], X[N], {values}) -> P[H,M,N]:\n"
        f"    P[h,m,n] = 1 + 0 * (A[h] + C[m] + X[n]) where {condition}\n"
    )
    return function(api.check(text).select())


@dataclass(frozen=True)
class Visit:
    """A tile that a program goes to: its first coordinate, and whether it is full."""

    start: int
    full: bool


def loops(body: tuple[Statement, ...]) -> Iterator[Loop]:
    """The loops of a body."""
    yield from (s for s in body if isinstance(s, Loop))


def visits(kernel: Kernel, tiles: Mapping[str, int], at: Mapping[str, int], values: Mapping[str, int]) -> list[Visit]:
    """The tiles that the program that begins at `at` goes to."""
    known: dict[str, Any] = dict(values)
    sizes = {a.name: int(computed(a.size, known)) for a in kernel.axes}

    def number(expr: Expr, low: Mapping[str, int]) -> Any:
        return computed(_with_edges(expr, low, tiles, sizes), known)

    for item in kernel.body:
        match item:
            case Let(name=name, value=value):
                known[name] = number(value, at)
            case Loop(axis=axis):
                found: list[Visit] = []
                for part in item.ranges:
                    for start in range(number(part.low, at), number(part.high, at), tiles[axis]):
                        if number(item.where, {**at, axis: start}):
                            found.append(Visit(start, part.full))
                return found
            case _:
                pass
    raise AssertionError("there is no loop")


def _with_edges(
    expr: Expr, low: Mapping[str, int], tiles: Mapping[str, int], sizes: Mapping[str, int]
) -> Expr:
    """An expression with numbers for the edges of tiles."""
    match expr:
        case Apply(function="low", arguments=(Var(name=name),)):
            return Int(low[name])
        case Apply(function="high", arguments=(Var(name=name),)):
            return Int(min(low[name] + tiles[name], sizes[name]) - 1)
        case Apply(function="tile", arguments=(Var(name=name),)):
            return Int(tiles[name])
        case _:
            return rebuild(
                expr, tuple(_with_edges(c, low, tiles, sizes) for c in children(expr))
            )


@dataclass
class Tally:
    """Tiles of some programs."""

    visited: int = 0
    minimum: int = 0
    full: int = 0
    full_possible: int = 0


class Unsound(AssertionError):
    """A point is lost, a tile is gone to twice, or a full one lacks a point."""


def tally(
    plan: Plan, here: np.ndarray[Any, Any], tiles: Mapping[str, int], values: Mapping[str, int]
) -> Tally:
    """Compares what all programs go to with where points are; raises `Unsound`."""
    (kernel,) = plan.kernels
    found = Tally()
    heads, rows, keys = here.shape
    for h in range(0, heads, tiles["h"]):
        for m in range(0, rows, tiles["m"]):
            block = here[h : h + tiles["h"], m : m + tiles["m"]]
            went = visits(kernel, tiles, {"h": h, "m": m}, values)
            starts = [v.start for v in went]
            if len(set(starts)) != len(starts):
                raise Unsound(f"twice: {starts} at h = {h}, m = {m}")
            if any(s % tiles["n"] or not 0 <= s < keys for s in starts):
                raise Unsound(f"no tile: {starts} at h = {h}, m = {m}")
            full = {v.start for v in went if v.full}
            for n in range(0, keys, tiles["n"]):
                part = block[..., n : n + tiles["n"]]
                some, every = bool(part.any()), bool(part.all()) and n + tiles["n"] <= keys
                found.minimum += some
                found.full_possible += every
                found.visited += n in starts
                found.full += n in full
                if some and n not in starts:
                    raise Unsound(f"a point is lost in the tile {n} at h = {h}, m = {m}")
                if n in full and not every:
                    raise Unsound(f"the full tile {n} lacks a point at h = {h}, m = {m}")
    return found


def facts(condition: str) -> Facts:
    """The checked cascade of a condition."""
    return api.check(spec(condition)).select()
