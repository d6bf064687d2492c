"""Random conditions over coordinates, and cascades whose loops have nothing else to do."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PARAMETERS: Final = ("a", "b", "w", "r")
"""Integer parameters; `r` is positive."""
AFFINE: Final = (
    *("plain", "plain", "far", "window", "block", "number", "abs", "min", "clip", "head"),
    *("scaled", "row", "program", "nested", "chain", "equal"),
)
FAMILIES: Final = {
    "affine": AFFINE,
    "periodic": (*AFFINE, *("beat", "mixed", "remainder", "rows") * 3),
    "tensors": (*AFFINE, *("of head", "of row", "band", "flag", "offsets") * 3),
    "stream": (*AFFINE, *("same", "marked", "above") * 4),
    "sorted": (*AFFINE, *("sorted", "beside", "along", "part") * 6),
    "two": (*AFFINE, *("outer", "inner", "near") * 4),
    "other": (*AFFINE, *("choice", "product", "signs", "signs") * 3),
}
"""Kinds of comparisons by the family of conditions that they make.

`affine`: inequalities of coordinates with parameters as numbers, and quotients by what is positive;
their tiles are to be exact. `periodic`: remainders. `tensors`: numbers of each program and row.
`stream`: numbers of what is streamed; `sorted`: the same, sorted. `two`: two streamed ranks.
`other`: products of coordinates, choices, divisors that may be negative or 0.
"""
TENSORS: Final = {
    "W": "W[H]: i32",
    "L": "L[H]: i64",
    "F": "F[H]: bool",
    "P": "P[M]: i32",
    "D": "D[N]: i32",
    "B": "B[N]: bool",
    "S": "S[H,N]: i32",
}
BINDINGS: Final = {"half": "w // 2", "most": "max(a, N - M)"}


@dataclass(frozen=True)
class Grammar:
    """Makes conditions of one family over `h`, `m`, `n` and parameters."""

    rng: random.Random
    family: str = "affine"

    def condition(self, depth: int = 2) -> str:
        """A condition of so many levels."""
        rng = self.rng
        if depth and rng.random() < 0.55:
            a, b = self.condition(depth - 1), self.condition(depth - 1)
            return f"({a} {rng.choice(('and', 'and', 'or'))} {b})"
        if depth and rng.random() < 0.15:
            return f"not ({self.condition(depth - 1)})"
        return self.atom()

    def atom(self) -> str:
        """One comparison."""
        rng, c, number, over = self.rng, self.number(), self.number, self.divisor
        op = rng.choice(("<", "<=", ">", ">=", "=="))
        less, more = rng.choice(("<", "<=")), rng.choice((">", ">="))
        match rng.choice(FAMILIES[self.family]):
            case "plain":
                return f"n {op} m + {c}"
            case "far":
                return f"{rng.choice(('n', 'm'))} {op} {c}"
            case "window":
                return f"{c} <= m - n < {number()} + w"
            case "block":
                return f"n // {over()} {op} m // {over()}"
            case "number":
                return f"(n + {c}) // {over()} {op} {number()}"
            case "abs":
                return f"abs(m - n + {c}) {rng.choice((less, more))} w"
            case "min":
                return f"n {op} {rng.choice(('min', 'max'))}(m, {c})"
            case "clip":
                return f"n {rng.choice(('<', '>='))} clip(m - {c}, 0, N - w)"
            case "head":
                return f"n {op} m - h * {rng.randint(1, 5)}"
            case "scaled":
                return f"{rng.randint(2, 3)} * n {op} m + {c}"
            case "row":
                return f"m {rng.choice((op, '!='))} {c}"
            case "program":
                return f"h {rng.choice(('==', '!=', '<'))} {rng.randint(0, 2)}"
            case "nested":
                inner = f"{rng.choice(('min', 'max'))}(m - {c}, abs(m - {number()}), {number()})"
                return f"{rng.choice(('min', 'max'))}(n, {number()}) {op} {inner}"
            case "chain":
                return f"{c} {less} n {less} m + {number()} {less} {number()} + N"
            case "equal":
                divisor = over()
                return f"(n + {rng.randint(0, 5)}) // {divisor} == (m + {c}) // {divisor}"
            case "beat":
                return f"(m - n) % {over()} {rng.choice(('==', '<'))} {rng.randint(0, 2)}"
            case "mixed":
                return f"(m - n + {c}) // {over()} {op} {rng.randint(-2, 2)}"
            case "remainder":
                return f"n % {over()} {op} {rng.randint(0, 4)}"
            case "rows":
                return f"abs(m % r - n % r) <= {rng.randint(0, 2)}"
            case "of head":
                return f"n {op} m {rng.choice('+-')} {rng.choice(('W[h]', 'L[h]', 'abs(W[h])'))}"
            case "of row":
                return f"n {op} {rng.choice(('P[m]', 'P[m] + a', 'min(P[m], m)', 'P[m] * 2'))}"
            case "band":
                return f"{rng.choice(('P[m]', 'W[h]'))} <= n < L[h] + {c}"
            case "flag":
                return f"{rng.choice(('F[h]', 'not F[h]', 'W[h] > 5', 'P[m] == 3'))}"
            case "offsets":
                return "L[h] <= n < L[h + 1]"
            case "same":
                return "D[n] == P[m]"
            case "marked":
                return rng.choice(("B[n]", "not B[n]", "D[n] == h"))
            case "above":
                return f"D[n] {op} {rng.choice(('m', 'n', c))}"
            case "sorted":
                left = rng.choice(("D[n]", "S[h,n]"))
                return f"{left} {rng.choice((op, '!='))} {rng.choice(('P[m]', 'W[h]', c))}"
            case "beside":
                return rng.choice(("S[h,n] == S[h,m]", f"abs(S[h,n] - P[m]) {less} {c}"))
            case "along":
                place = rng.choice((f"n - {rng.randint(0, 5)}", f"n // {over()}", "N - 1 - n"))
                return f"{rng.choice(('D[', 'S[h,'))}{place}] {op} {rng.choice(('P[m]', c))}"
            case "part":
                return f"{rng.choice(('D[n] // 2', '2 * S[h,n]', '3 - D[n]'))} {op} P[m]"
            case "outer":
                return rng.choice((f"abs(c - h) {less} w", f"c {op} {c}", f"c {op} h + {c}"))
            case "inner":
                return rng.choice((f"k {op} m - {c}", f"k {op} {c}", f"k + c {op} m"))
            case "near":
                return f"abs(h - c) {less} {rng.randint(0, 2)} and abs(m - k) {less} w"
            case "choice":
                return f"(n if {rng.choice(('m', 'a', 'n'))} < {c} else n + 3) {op} m"
            case "product":
                return f"{rng.choice(('m * n', 'n * n', 'a * n'))} {op} {c} * 4"
            case "signs":
                inner = f"(n - {c}) // a {op} m // {over()}"
                return rng.choice((inner, f"n // w {op} {number()}", "n % a == b", "a * n < m * w"))
            case kind:
                raise NotImplementedError(kind)

    def number(self) -> str:
        """A number, a parameter, or what is made of parameters and sizes."""
        numbers = (str(self.rng.randint(0, 20)), "a", "b", "(N - M)", "(0 - a)", "half", "most")
        return self.rng.choice(numbers)

    def divisor(self) -> str:
        """What is divided by, a positive number."""
        return self.rng.choice(("r", str(self.rng.randint(2, 9))))


def spec(condition: str, head: str = "O[H,M]", body: str = "") -> str:
    """A cascade with a condition; without a body, one whose only loop goes where it holds.

    What a condition mentions is declared. A condition over `c` or `k` goes along two ranks, in
    which `n` is counted. `; M == N` behind it is required.
    """
    condition, _, required = condition.partition(";")
    two = re.search(r"\b[ck]\b", condition) is not None
    found = {n: v for n, v in BINDINGS.items() if re.search(rf"\b{n}\b", condition)}
    bindings = "".join(f"    {n} = {v}\n" for n, v in found.items())
    used = [text for name, text in TENSORS.items() if f"{name}[" in condition]
    streamed, along = ("X[C,K]", "c,k") if two else ("X[N]", "n")
    inputs = ", ".join(("A[H]", "Q[M]", streamed, *used, *(f"{p}: int = 1" for p in PARAMETERS)))
    body = body or f"    O[h,m] = max[{along}](only(A[h] + Q[m] + X[{along}], CONDITION))\n"
    required = f"    require {required.strip()}\n" if required else ""
    text = f"    require r > 0\n{required}{bindings}{body.replace('ALONG', along)}"
    text = text.replace("CONDITION", condition)
    if two:
        text = re.sub(r"\bn\b", "(c * K + k)", re.sub(r"\bN\b", "(C * K)", text))
    ranks = "C,K" if two else "N"
    return f"cascade points({inputs}) -> {head.replace('ALONG', ranks)}:\n{text}"


def conditions(family: str, seeds: Iterator[int] | range) -> Iterator[tuple[int, str]]:
    """Random conditions with their seeds."""
    for seed in seeds:
        rng = random.Random(f"{family} {seed}")
        condition = Grammar(rng, family).condition(rng.choice((0, 1, 1, 1, 2)))
        if family == "two":
            condition += "" if re.search(r"\b[ck]\b", condition) else " and k <= m"
        elif rng.random() < 0.1:
            condition += "; M == N"
        if family == "sorted":
            sign = " and" if ";" in condition else ";"
            condition = f"{condition}{sign} {_claims(rng, condition)}"
        yield seed, condition


CLAIMS: Final = {
    "D": ("all[n](D[n] <= D[n + 1])", "all[n](D[n] >= D[n + 1])", "not any[n](D[n - 1] < D[n])"),
    "S": ("all[h,n](S[h,n] <= S[h,n + 1])", "all[n,h](S[h,n] <= S[h,n - 1])"),
}
"""How a tensor may be said to be sorted: to ascend, else to descend."""


def _claims(rng: random.Random, condition: str) -> str:
    found = [rng.choice(CLAIMS[name]) for name in CLAIMS if f"{name}[" in condition]
    return " and ".join(found) or "0 < 1"
