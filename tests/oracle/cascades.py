"""Random cascades that are valid by construction, and small inputs for them.

What is generated carries its kind, its free variables and how exactly it is known, so that every
text passes the checker and its results hardly depend on rounding: a comparison, `floor`, a cast
or `argmax` is only given integers and floats that are small multiples of a power of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeVar

import numpy as np
from hypothesis import strategies as st

from attnc.ir.cascade import Binding, Variables
from attnc.ir.expr import Apply, Value
from attnc.ir.facts import Facts
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions

T = TypeVar("T")
NOTHING: Final[frozenset[str]] = frozenset()
EXACT_BITS = 20
"""An exact float times a power of two is an integer of this many bits, so f32 holds it."""
FLOAT_BITS, INT_BITS = 14, 18
CASTS = ("f16", "bf16", "f32", "f64")
EXTENTS = ["M", "N", "E", "F", "B"]
MACROS = {
    "twice": "def twice(x) = x + x",
    "gate": "def gate(c, x) = only(x, c)",
    "spread": "def spread[n](x) = max[n](x) - min[n](x)",
    "weigh": "def weigh[n](x, y) = sum[n](x * y)",
    "lerp": "def lerp(x, y, w) = x + (y - x) * w",
}


# Functions of anything, with the bits of what they give (None: one more than they take).
SMOOTH: Final[list[tuple[str, int | None]]] = [
    *((name, 0) for name in ("tanh", "sigmoid", "erf", "sin", "cos")),
    *((name, None) for name in ("abs", "relu", "gelu", "silu", "softplus")),
    ("exp(-abs({}))", 0),
    ("log(abs({}) + 1)", 4),
    ("log2(abs({}) + 0.5)", 4),
    ("log1p(abs({}))", 4),
    ("sqrt(abs({}) + 1)", None),
    ("rsqrt(tanh({}) ** 2 + 1)", 0),
    ("pow(abs({}) + 1, 0.5)", None),
    ("(abs({}) + 1) ** 0.5", None),
    ("softcap({}, 2.0)", 1),
]
REDUCING = ["logsumexp", "norm2", "variance", "spread", "weigh"]
OVER_RANKS = [
    *("softmax", "log_softmax", "l2norm", "rmsnorm", "layernorm", "rope", "rope_half"),
    *REDUCING,
]
INTEGER_FUNCTIONS = [
    *(f"{name}({{0.text}})" for name in ("abs", "sign", "relu", "round", "detach", "i32", "i64")),
    "max({0.text}, {1.text})",
    "min({0.text}, {1.text})",
    "clip({0.text}, 0, {1.text})",
]
BIT_FORMS = [
    *("{0} & {1}", "{0} | {1}", "{0} ^ {1}", "{0} >> {1}", "~{0}"),
    *("{0} << ({1} & 3)", "({0} << {1}) & 7"),
]
BRANCHES = [
    "only({0.text}, {2.text})",
    "{0} if {2} else {1}",
    "{0} if {2} else absent",
    "absent if {2} else {0}",
    "default({0.text}, {1.text})",
    "default(only({0.text}, {2.text}), {1.text})",
    "detach({0.text})",
    "{0} if {2} else {1} if not {2} else {0}",
]
# What a recurrence makes of its previous value {0}; {1} is any value, {2} a condition.
STEPS = {
    "float": [
        *("0.5 * {0} + {1}", "tanh({0} + {1})", "max({0}, {1})", "{1} if {2} else {0}"),
        *("{1} - {0} / 2", "plus({1}, 0.5 * {0})"),
    ],
    "int": [
        *("({0} * 2 + {1}) % 7", "max({0}, {1}) & 7", "({1} if {2} else {0}) % 5"),
        "({0} ^ {1}) & 3",
    ],
    "bool": ["{0} ^ {1}", "not {0} and {1}", "{0} or {1}", "{1} if {2} else not {0}"],
}
ARGUMENTS = [
    *(("w", "int", "1"), ("bias", "float", "-0.5"), ("flag", "bool", "true")),
    *(("R", "int", "2"), ("steps", "int", "2"), ("top", "int", "")),
]


@dataclass(frozen=True)
class Part:
    """An expression: |value| <= 2**bits, a multiple of 2**-grain (None: rounded).

    `op` and `parts` are kept where an implicit sum can pass or stand. `kept` are the
    variables of scans and `argtopk`, free or bound, which `at` leaves alone.
    """

    text: str
    kind: str
    bits: int
    grain: int | None = 0
    free: frozenset[str] = NOTHING
    kept: frozenset[str] = NOTHING
    op: str = ""
    parts: tuple[Part, ...] = ()
    atom: bool = True

    @property
    def exact(self) -> bool:
        """Whether every backend computes exactly the same value."""
        return self.grain is not None and self.grain + self.bits <= EXACT_BITS

    def __str__(self) -> str:
        return self.text if self.atom else f"({self.text})"


@dataclass(frozen=True)
class Tensor:
    """A tensor that can be read."""

    name: str
    sizes: tuple[str, ...]
    kind: str
    bits: int
    grain: int | None
    longer: bool = False


def stands(part: Part, v: str) -> bool:
    """Whether an implicit sum over `v` finds where to stand."""
    using = [p for p in part.parts if v in p.free]
    if v not in part.free or part.op in ("read", "var", "sum"):
        return True
    if part.op in ("+", "-", "negated"):
        return all(stands(p, v) for p in using)
    if part.op in ("*", "/") and len(using) == 2:
        return True
    passes = part.op == "*" or (part.op == "/" and v in part.parts[0].free)
    return passes and stands(using[0], v)


class _Maker:
    """Makes one cascade; `below(n)` is a choice of 0 to n - 1, the simplest first."""

    def __init__(self, below: Callable[[int], int]) -> None:
        self.below = below
        self.variables: dict[str, str] = {}
        self.wide: set[str] = set()
        self.values: list[Part] = []
        self.tensors: list[Tensor] = []
        self.lines: list[str] = []
        self.used: dict[str, None] = {}
        self.fuel = self.nested = self.count = 0
        self.stepping = ""

    def pick(self, items: Sequence[T]) -> T:
        """One of some items."""
        return items[self.below(len(items))]

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.below(100) >= 100 - percent

    def some(self, items: Iterable[T], least: int, most: int) -> list[T]:
        """Different items, in any order."""
        rest = list(items)
        count = min(len(rest), least + self.below(most - least + 1))
        return [rest.pop(self.below(len(rest))) for _ in range(count)]

    # Parts

    def make(
        self, text: str, kind: str, bits: int, grain: int | None, *of: Part, **more: Any
    ) -> Part:
        """A part made of others."""
        free = NOTHING.union(*(p.free for p in of))
        kept = NOTHING.union(*(p.kept for p in of))
        if kind != "float":
            grain = 0
        return Part(text, kind, bits, grain, free, kept, **more)

    def literal(self, kind: str) -> Part:
        """A literal, never negative."""
        if kind == "bool":
            return Part(self.pick(["true", "false"]), kind, 0)
        if kind == "int":
            return Part(self.pick(["0", "1", "2", "3", "0x4"]), kind, 2)
        return Part(self.pick(["0.5", "0.0", "1.0", ".25", "1.5", "2e0", "125e-3"]), kind, 1, 3)

    def leaf(self, kind: str, scope: Sequence[str]) -> Part:
        """A read, a value, a variable or a literal."""
        reads = [t for t in self.tensors if t.kind == kind]
        values = [v for v in self.values if v.kind == kind]
        if kind == "int" and scope and self.chance(50):
            return self.variable(self.pick(scope))
        if reads and self.chance(80):
            sizes = {self.variables[v] for v in scope}
            fitting = [t for t in reads if {*t.sizes} <= sizes]
            if fitting and self.chance(88):
                return self.read(self.pick(fitting), scope)
            if self.chance(40):
                return self.read(self.pick(reads), scope)
        if values and self.chance(50):
            return self.pick(values)
        if kind == "bool" and self.chance(80):
            return self.b_compare(scope, 0)
        return self.literal(kind)

    def variable(self, v: str) -> Part:
        """A rank variable as a number."""
        return Part(v, "int", 3, 0, frozenset((v,)), op="var")

    def read(self, tensor: Tensor, scope: Sequence[str]) -> Part:
        """A tensor at an index that fits, or nearly."""
        index = [self.index(size, scope) for size in tensor.sizes]
        text = f"{tensor.name}[{','.join(i.text for i in index)}]"
        return self.make(text, tensor.kind, tensor.bits, tensor.grain, *index, op="read")

    def index(self, size: str, scope: Sequence[str]) -> Part:
        """An index into a rank of some size."""
        own = [v for v in reversed(scope) if self.variables[v] == size]
        if own and not self.chance(15):
            return self.variable(self.pick(own))
        if not self.chance(50) or self.fuel < 4:
            if not (own or scope):
                return Part(self.pick("01"), "int", 0)
            v = self.variable(self.pick(own or scope))
            return self.affine(v) if self.chance(50) else v
        self.fuel -= 3
        return self.expr("int", scope, 1)

    def affine(self, v: Part) -> Part:
        """An index near a variable."""
        form = self.pick(
            ["{} - 1", "{} + 1", "{} // 2", "{} % 2", "1 - {}", "{} * 2 + 1", "abs({} - 2)"]
        )
        return self.make(form.format(v), "int", 4, 0, v, atom=form[0] == "a")

    def expr(self, kind: str, scope: Sequence[str], depth: int) -> Part:
        """Any expression of a kind over the variables in scope."""
        if depth <= 0 or self.fuel <= 0:
            return self.leaf(kind, scope)
        self.fuel -= 1
        found: Part | None = getattr(self, self.pick(FORMS[kind]))(scope, depth - 1)
        if found is None:
            return self.leaf(kind, scope)
        if found.kind == "float" and found.bits > FLOAT_BITS:
            return self.make(f"tanh({found.text})", "float", 0, None, found)
        if found.kind == "int" and found.bits > INT_BITS:
            return self.make(f"{found} % 7", "int", 3, 0, found, atom=False)
        return found

    def number(self, scope: Sequence[str], depth: int) -> Part:
        """A float, or sometimes an integer or a bool in its place."""
        return self.expr(self.pick(["float"] * 5 + ["int"]), scope, depth)

    def exact(self, scope: Sequence[str], depth: int) -> Part:
        """A number that is known exactly."""
        found = self.expr(self.pick(["int", "float", "float"]), scope, depth)
        return found if found.exact else self.expr("int", scope, min(depth, 1))

    def binary(self, op: str, a: Part, b: Part, kind: str) -> Part:
        """A sum, difference or product."""
        rounded = a.grain is None or b.grain is None
        if op == "*":
            bits, grain = a.bits + b.bits, None if rounded else (a.grain or 0) + (b.grain or 0)
        else:
            bits, grain = (
                max(a.bits, b.bits) + 1,
                None if rounded else max(a.grain or 0, b.grain or 0),
            )
        return self.make(f"{a} {op} {b}", kind, bits, grain, a, b, op=op, parts=(a, b), atom=False)

    def either(self, a: Part, b: Part) -> tuple[int, int | None]:
        """Bits and grain of what is one of two."""
        rounded = a.grain is None or b.grain is None
        return max(a.bits, b.bits), None if rounded else max(a.grain or 0, b.grain or 0)

    # Forms of every kind; `kind` is bound in FORMS by the names below

    def branch(self, kind: str, scope: Sequence[str], depth: int) -> Part:
        """A ternary or what handles absence."""
        a, b, c = (self.expr(k, scope, depth) for k in (kind, kind, "bool"))
        form = self.pick(BRANCHES)
        of = [p for i, p in enumerate((a, b, c)) if f"{{{i}" in form]
        bits, grain = self.either(a, b if b in of else a)
        atom = " if " not in form
        return self.make(form.format(a, b, c), kind, bits, grain, *of, atom=atom)

    def replaced(self, kind: str, scope: Sequence[str], depth: int) -> Part | None:
        """`at[e = index](x)`."""
        v = self.pick(list(self.variables))
        body = self.expr(kind, [*scope, v], depth)
        if v in body.kept:
            return None
        index = self.pick(
            [self.affine(self.variable(self.pick(scope or [v]))), self.literal("int")]
        )
        if not index.free <= {*scope} - body.kept:
            index = self.literal("int")
        free = body.free - {v} | (index.free if v in body.free else NOTHING)
        text = f"at[{v} = {index.text}]({body.text})"
        return Part(text, kind, body.bits, body.grain, free, body.kept)

    def bound(
        self, kind: str, scope: Sequence[str], depth: int, most: int = 1
    ) -> tuple[list[str], Part] | None:
        """Variables and an expression for a reduction over them; None when nested too deeply."""
        if self.nested >= 2:
            return None
        self.nested += 1
        over = self.some(self.variables, 1, most)
        body = self.expr(kind, [*(v for v in scope if v not in over), *over], depth)
        if not body.free & {*over} and self.chance(80):
            body = self.leaf(kind, over)
        self.nested -= 1
        return over, body

    def reduced(self, op: str, over: Sequence[str], body: Part, kind: str) -> Part:
        """A written reduction."""
        if op == "prod":
            body = self.factor(body, kind)
        bits, grain = body.bits, body.grain
        if op == "sum":
            bits += 3 * len(over)
        if op == "prod":
            bits, grain = 8 * bits, None if grain else grain
        if op == "mean":
            grain = None
        if op == "prod" and len(over) > 1:
            op = "min"
        free = body.free - {*over}
        text = f"{op}[{','.join(over)}]({body.text})"
        tag = "sum" if op == "sum" else ""
        return Part(text, kind, bits, grain if kind == "float" else 0, free, body.kept, tag)

    def factor(self, body: Part, kind: str) -> Part:
        """Something whose products stay small."""
        if kind == "float":
            return self.make(f"cos({body.text})", kind, 0, None, body)
        return self.make(f"{body} % 3", kind, 1, 0, body, atom=False)

    def scanned(self, kind: str, scope: Sequence[str], depth: int) -> Part | None:
        """A cumulative reduction over a variable in scope."""
        over = [v for v in scope if v != self.stepping]
        if not over or self.nested >= 2:
            return None
        self.nested += 1
        v, body = self.pick(over), self.expr(kind, scope, depth)
        self.nested -= 1
        op = self.pick(["cumsum", "cummax", "cummin", "cumprod"])
        reverse = self.pick(["", ", reverse"])
        if op == "cumprod":
            body = self.factor(body, kind)
        bits, grain = body.bits, body.grain
        if op == "cumprod":
            bits, grain = 8 * bits, None if grain else grain
        if op == "cumsum":
            bits += 3
        own = frozenset((v,))
        text = f"{op}[{v}{reverse}]({body.text})"
        grain = grain if kind == "float" else 0
        return Part(text, kind, bits, grain, body.free | own, body.kept | own)

    # Floats

    def f_leaf(self, scope: Sequence[str], depth: int) -> Part:
        return self.leaf("float", scope)

    def f_sum(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.expr("float", scope, depth), self.number(scope, depth)
        a, b = self.pick([(a, b), (b, a)])
        return self.binary(self.pick("+-"), a, b, "float")

    def f_product(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.expr("float", scope, depth), self.number(scope, depth)
        if self.chance(10):
            b = self.expr("bool", scope, depth)
        a, b = self.pick([(a, b), (b, a)])
        return self.binary("*" if a.bits + b.bits <= FLOAT_BITS else "-", a, b, "float")

    def f_negated(self, scope: Sequence[str], depth: int) -> Part:
        a = self.expr("float", scope, depth)
        return self.make(f"-{a}", "float", a.bits, a.grain, a, op="negated", parts=(a,), atom=False)

    def f_quotient(self, scope: Sequence[str], depth: int) -> Part:
        a = self.expr("float", scope, depth)
        b, grain = self.number(scope, depth), None
        form = self.pick(["2", "8.0", "sqrt(N + 1)", "abs", "exp", "int"])
        if form in ("2", "8.0"):
            b = Part(form, "int", 3)
            grain = None if a.grain is None else a.grain + 3
        elif form == "sqrt(N + 1)":
            b = Part(f"sqrt({self.pick(self.extents())} + 1)", "float", 2, None)
        elif form == "abs":
            b = self.make(f"abs({b.text}) + 0.5", "float", b.bits + 1, None, b, atom=False)
        elif form == "exp":
            b = self.make(f"exp(sin({b.text}))", "float", 2, None, b)
        elif a.exact:
            b = self.expr("int", scope, min(depth, 1))
        else:
            b = Part("3", "int", 2)
        bits = a.bits + 2
        return self.make(f"{a} / {b}", "float", bits, grain, a, b, op="/", parts=(a, b), atom=False)

    def f_function(self, scope: Sequence[str], depth: int) -> Part:
        a = self.number(scope, depth)
        if a.bits <= 3 and self.chance(30):
            name = self.pick(["exp", "exp2", "expm1"])
            return self.make(f"{name}({a.text})", "float", 12, None, a)
        if a.exact and self.chance(20):
            name = self.pick(["sqrt", "log", "log2", "log1p"])
            return self.make(f"{name}({a.text})", "float", 7, None, a)
        form, bits = self.pick(SMOOTH)
        if form in ("abs", "relu"):
            grain = None if a.grain is None else a.grain + 1
            return self.make(f"{form}({a} * 0.5)", "float", a.bits, grain, a)
        text = form.format(a.text) if "{" in form else f"{form}({a.text})"
        if bits is None:
            bits = a.bits + 1
        return self.make(text, "float", bits, None, a, atom=not text.endswith("** 0.5"))

    def f_stepped(self, scope: Sequence[str], depth: int) -> Part | None:
        """What jumps, of an exact float."""
        a = self.expr("float", scope, depth)
        if not a.exact or a.bits > 10:
            return None
        name = self.pick(["floor", "ceil", "round", "sign", *CASTS])
        grain = a.grain if name in CASTS else 0
        return self.make(f"{name}({a.text})", "float", a.bits + 1, grain, a)

    def f_extreme(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.expr("float", scope, depth), self.number(scope, depth)
        bits, grain = self.either(a, b)
        grain = None if grain is None else max(grain, 1)
        form = self.pick(["max({}, {})", "min({}, {})", "clip({}, -1.5, {})", "max({}, {}, 0)"])
        return self.make(form.format(a.text, b.text), "float", max(bits, 1), grain, a, b)

    def f_mixed(self, scope: Sequence[str], depth: int) -> Part:
        a = self.expr(self.pick(["int", "bool"]), scope, depth)
        form = self.pick(["{} * 0.5", "0.5 + {}", "{} / 2"])
        return self.make(form.format(a), "float", a.bits + 1, 1, a, atom=False)

    def f_cast(self, scope: Sequence[str], depth: int) -> Part:
        a = self.exact(scope, depth)
        return self.make(f"{self.pick(['f64', 'f32'])}({a.text})", "float", a.bits, a.grain, a)

    def f_branch(self, scope: Sequence[str], depth: int) -> Part:
        return self.branch("float", scope, depth)

    def f_plus(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.branch("float", scope, depth), self.expr("float", scope, depth)
        bits, grain = self.either(a, b)
        return self.make(f"plus({a.text}, {b.text})", "float", bits + 1, grain, a, b)

    def f_reduce(self, scope: Sequence[str], depth: int) -> Part | None:
        found = self.bound("float", scope, depth, 2)
        op = self.pick(["sum", "max", "min", "mean", "prod"])
        return None if found is None else self.reduced(op, *found, "float")

    def f_scan(self, scope: Sequence[str], depth: int) -> Part | None:
        return self.scanned("float", scope, depth)

    def f_at(self, scope: Sequence[str], depth: int) -> Part | None:
        return self.replaced("float", scope, depth)

    def f_power(self, scope: Sequence[str], depth: int) -> Part:
        a = self.expr("float", scope, depth)
        if a.bits <= 4:
            return self.make(f"{a} ** 2", "float", 2 * max(a.bits, 0), None, a, atom=False)
        b = self.expr("int", scope, min(depth, 1))
        return self.make(f"2 ** ({b} % 3)", "float", 2, None, b, atom=False)

    def f_random(self, scope: Sequence[str], depth: int) -> Part:
        of = [self.expr("int", scope, min(depth, 1)) for _ in range(1 + self.below(3))]
        return self.make(f"random({', '.join(p.text for p in of)})", "float", 0, None, *of)

    def f_macro(self, scope: Sequence[str], depth: int) -> Part | None:
        """The prelude and macros of the file."""
        a = self.expr("float", scope, depth)
        if self.chance(30):
            b, c = self.expr("float", scope, depth), self.expr("bool", scope, depth)
            name = self.pick(["twice", "gate", "lerp"])
            self.used[name] = None
            if name == "twice":
                return self.make(f"twice({a.text})", "float", a.bits + 1, a.grain, a)
            if name == "gate":
                return self.make(f"gate({c.text}, {a.text})", "float", a.bits, a.grain, a, c)
            bits, grain = self.either(a, b)
            bits, grain = bits + 2, None if grain is None else grain + 1
            return self.make(f"lerp({a.text}, {b.text}, 0.5)", "float", bits, grain, a, b)
        if self.nested >= 1 or a.bits > 6:
            return None
        over = self.some(self.variables, 1, 2)
        inner = [*(v for v in scope if v not in over), *over]
        self.nested += 2
        a = self.expr("float", inner, min(depth, 2))
        b = self.leaf("float", inner)
        self.nested -= 2
        if a.bits > 5:
            a = self.leaf("float", inner)
        return self.normalised(a, b, over, scope)

    def normalised(self, a: Part, b: Part, over: list[str], scope: Sequence[str]) -> Part | None:
        """A bracket macro."""
        name = self.pick(OVER_RANKS)
        reducing = name in REDUCING
        if name in MACROS:
            self.used[name] = None
        if name in ("rope", "rope_half") and len(over) > 1:
            name = "softmax"
        if not (reducing or {*over} <= {*scope}):
            return None
        if name.startswith("rope") and a.kept & {*over}:
            return None
        more = {
            **dict.fromkeys(["l2norm", "rmsnorm", "layernorm"], ", 0.5"),
            "rope": ", 1, 100.0",
            "rope_half": f", {over[0]}, 10.0",
            "weigh": f", {b.text}",
        }
        of = (a, b) if name == "weigh" else (a,)
        part = self.make("", "float", 12, None, *of)
        free = part.free - {*over} if reducing else part.free
        free |= {*over} if name.startswith("rope") else NOTHING
        text = f"{name}[{','.join(over)}]({a.text}{more.get(name, '')})"
        return replace(part, text=text, free=free)

    # Integers

    def i_leaf(self, scope: Sequence[str], depth: int) -> Part:
        return self.leaf("int", scope)

    def i_arithmetic(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.expr("int", scope, depth), self.expr("int", scope, depth)
        return self.binary(self.pick("+-*"), a, b, "int")

    def i_division(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.expr("int", scope, depth), self.expr("int", scope, depth)
        form = self.pick(["{0} // {1}", "{0} % {1}", "ceildiv({0.text}, {1.text})"])
        bits = max(a.bits, b.bits) + 1
        return self.make(form.format(a, b), "int", bits, 0, a, b, atom=form[0] == "c")

    def i_bits(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.expr("int", scope, depth), self.expr("int", scope, depth)
        form = self.pick(BIT_FORMS)
        of = (a,) if form[0] == "~" else (a, b)
        bits = max(a.bits, b.bits) + 1 if "<<" not in form else max(a.bits + 3, 3)
        return self.make(form.format(a, b), "int", bits, 0, *of, atom=False)

    def i_function(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.expr("int", scope, depth), self.expr("int", scope, depth)
        form = self.pick(INTEGER_FUNCTIONS)
        of = (a, b) if "{1" in form else (a,)
        return self.make(form.format(a, b), "int", max(p.bits for p in of), 0, *of)

    def i_negated(self, scope: Sequence[str], depth: int) -> Part:
        a = self.expr("int", scope, depth)
        minus = "0 - " if a.atom else "-"
        of = (Part("0", "int", 0), a) if a.atom else (a,)
        op = "-" if a.atom else "negated"
        return self.make(f"{minus}{a}", "int", a.bits, 0, a, op=op, parts=of, atom=False)

    def i_cast(self, scope: Sequence[str], depth: int) -> Part:
        a = self.exact(scope, depth) if self.chance(70) else self.expr("bool", scope, depth)
        return self.make(f"{self.pick(['i32', 'i64'])}({a.text})", "int", a.bits, 0, a)

    def i_square(self, scope: Sequence[str], depth: int) -> Part:
        a = self.expr("int", scope, depth)
        if a.bits > 4:
            return self.make(f"{a} & 7", "int", 3, 0, a, atom=False)
        return self.make(f"{a} ** {self.pick('201')}", "int", 2 * a.bits, 0, a, atom=False)

    def i_branch(self, scope: Sequence[str], depth: int) -> Part:
        return self.branch("int", scope, depth)

    def i_at(self, scope: Sequence[str], depth: int) -> Part | None:
        return self.replaced("int", scope, depth)

    def i_bools(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.expr("bool", scope, depth), self.expr("bool", scope, depth)
        return self.binary(self.pick("+-"), a, b, "int")

    def i_reduce(self, scope: Sequence[str], depth: int) -> Part | None:
        found = self.bound("int", scope, depth, 2)
        op = self.pick(["sum", "max", "min", "prod"])
        return None if found is None else self.reduced(op, *found, "int")

    def i_scan(self, scope: Sequence[str], depth: int) -> Part | None:
        return self.scanned("int", scope, depth)

    def i_count(self, scope: Sequence[str], depth: int) -> Part | None:
        found = self.bound("bool", scope, depth, 2)
        return None if found is None else replace(self.reduced("count", *found, "int"), bits=6)

    def i_arg(self, scope: Sequence[str], depth: int) -> Part | None:
        """`argmax`, `argmin` and `argtopk` of exact numbers."""
        found = self.bound(self.pick(["float", "int"]), scope, depth)
        if found is None:
            return None
        (v,), body = found
        if not body.exact:
            reads = [t for t in self.tensors if t.kind == "float" and t.grain is not None]
            body = self.read(self.pick(reads), [*scope, v]) if reads else self.variable(v)
        into = [u for u in scope if u not in body.free and u not in (v, self.stepping)]
        if into and self.chance(60):
            u = frozenset((self.pick(into),))
            text = f"argtopk[{v} -> {min(u)}]({body.text})"
            return Part(text, "int", 3, 0, body.free - {v} | u, body.kept | u)
        text = f"{self.pick(['argmax', 'argmin'])}[{v}]({body.text})"
        return Part(text, "int", 3, 0, body.free - {v}, body.kept)

    # Bools

    def b_leaf(self, scope: Sequence[str], depth: int) -> Part:
        return self.leaf("bool", scope)

    def b_compare(self, scope: Sequence[str], depth: int) -> Part:
        a, b, c = (self.exact(scope, depth) for _ in range(3))
        ops = [self.pick(["<=", "<", ">", ">=", "==", "!="]) for _ in range(2)]
        if self.chance(30):
            return self.make(f"{a} {ops[0]} {b} {ops[1]} {c}", "bool", 0, 0, a, b, c, atom=False)
        return self.make(f"{a} {ops[0]} {b}", "bool", 0, 0, a, b, atom=False)

    def b_logical(self, scope: Sequence[str], depth: int) -> Part:
        a, b = self.expr("bool", scope, depth), self.expr("bool", scope, depth)
        form = self.pick(
            ["{} and {}", "{} or {}", "{} & {}", "{} | {}", "{} ^ {}", "{} == {}", "{} < {}"]
        )
        return self.make(form.format(a, b), "bool", 0, 0, a, b, atom=False)

    def b_not(self, scope: Sequence[str], depth: int) -> Part:
        a = self.expr("bool", scope, depth)
        return self.make(f"{self.pick(['not ', '~'])}{a}", "bool", 0, 0, a, atom=False)

    def b_present(self, scope: Sequence[str], depth: int) -> Part:
        a = self.expr(self.pick(["float", "int", "bool"]), scope, depth)
        return self.make(f"present({a.text})", "bool", 0, 0, a)

    def b_cast(self, scope: Sequence[str], depth: int) -> Part:
        a = self.exact(scope, depth)
        return self.make(f"bool({a.text})", "bool", 0, 0, a)

    def b_branch(self, scope: Sequence[str], depth: int) -> Part:
        return self.branch("bool", scope, depth)

    def b_at(self, scope: Sequence[str], depth: int) -> Part | None:
        return self.replaced("bool", scope, depth)

    def b_reduce(self, scope: Sequence[str], depth: int) -> Part | None:
        found = self.bound("bool", scope, depth, 2)
        op = self.pick(["any", "all"])
        return None if found is None else self.reduced(op, *found, "bool")

    # Statements

    def extents(self) -> list[str]:
        """The names of all extents."""
        return [v.text for v in self.values if v.text.isupper()]

    def header(self) -> str:
        """Inputs and parameters; returns their text."""
        ranks = EXTENTS[: 2 + self.below(3)]
        items = []
        kinds = ["float", "float", *self.some(["float", "int", "bool", "f16", "f32", "i8"], 0, 3)]
        for i, kind in enumerate(kinds):
            sizes: list[str] = self.some(ranks, 1, 3)
            if i == 0:
                sizes = ranks[:3]
            elif i == 1:
                sizes = [ranks[-1], *self.some(ranks[:-1], 0, 2)]
            elif self.chance(10):
                sizes = [*sizes[:2], "3"]
            element = {"float": "", "bool": "bool", "int": self.pick(["i32", "i64"])}.get(
                kind, kind
            )
            if i == 2 and kind == "float":
                element = self.pick(["", "f64", "bf16"])
            kind = "int" if kind == "i8" else "float" if kind.startswith("f") else kind
            name = f"{'IXB'[['int', 'float', 'bool'].index(kind)]}{i}"
            bits, grain = {"float": (1, 3), "int": (3, 0), "bool": (0, 0)}[kind]
            self.tensors.append(Tensor(name, tuple(sizes), kind, bits, grain))
            items.append(f"{name}[{','.join(sizes)}]" + (f": {element}" if element else ""))
        for rank in ranks:
            self.extent(rank)
        for name, kind, default in self.some(ARGUMENTS, 0, 3):
            items.append(f"{name}: {kind}" + (f" = {default}" if default else ""))
            if name == "R":
                self.extent(name)
            else:
                self.values.append(
                    Part(name, kind, {"int": 2, "float": 1, "bool": 0}[kind], 3 * (kind == "float"))
                )
        return ", ".join(items)

    def extent(self, name: str, wide: bool = False) -> None:
        """An extent and its variable."""
        self.values.append(Part(name, "int", 3))
        self.variables[name.lower()] = name
        if wide:
            self.wide.add(name.lower())

    def declarations(self) -> None:
        """Bindings, more variables and requirements."""
        known = {v.text for v in self.values}
        for _ in range(self.below(4)):
            a = self.pick(self.extents())
            form = self.below(7)
            if form == 0 and "s" not in self.variables:
                self.lines.append(f"var s in {a}")
                self.variables["s"] = a
            elif form == 1 and "u" not in self.variables:
                names = ["u", "v"] if self.chance(30) else ["u"]
                size = self.pick(["2", "3", *(p for p in ("top", "steps") if p in known)])
                self.lines.append(f"var {', '.join(names)} in {size}")
                self.variables |= dict.fromkeys(names, size)
            elif form == 2 and "R" in known and "C" not in known:
                self.lines.append("C = ceildiv(N, R)")
                self.extent("C")
                known.add("C")
            elif form == 3 and "L" not in known:
                self.lines.append(
                    f"L = {self.pick(['M + N', 'max(M, N)', 'M * 2 - 1 if M > 0 else 0'])}"
                )
                self.extent("L", True)
                known.add("L")
            elif form == 4 and "bias" in known and "half" not in known:
                self.lines.append("half = bias * 0.5")
                self.values.append(Part("half", "float", 0, 4))
                known.add("half")
            elif form == 5:
                text = f"require {a} >= 0"
                ints = [t for t in self.tensors if t.kind == "int"]
                if ints and self.chance(50):
                    read = self.read(replace(self.pick(ints), bits=3), list(self.variables))
                    over = ",".join(sorted(read.free)) or self.pick(list(self.variables))
                    text = f"require all[{over}]({read} <= 5), {a} + 1 > 0"
                self.lines.append(text)
            elif form == 6 and "w" in known and "odd" not in known:
                self.lines.append("odd = w % 2 == 1")
                self.values.append(Part("odd", "bool", 0))
                known.add("odd")

    def name(self, letter: str = "T") -> str:
        """A new name of a tensor."""
        self.count += 1
        return f"{letter}{self.count}"

    def left(self, most: int = 3) -> list[str]:
        """Variables for a left side, at most one of them with a wide range."""
        found = self.some(self.variables, 0, most)
        wide = [v for v in found if v in self.wide]
        return [v for v in found if v not in wide[1:]]

    def conditions(self, left: Sequence[str], summed: Sequence[str], both: bool) -> str:
        """A `where` with conditions on the left side and on what is summed."""
        found = []
        self.fuel = 6
        if left and self.chance(25):
            found.append(self.expr("bool", left, 2).text)
        if summed and self.chance(40):
            scope = [*left, *(summed if both else [self.pick(summed)])]
            condition = self.expr("bool", scope, 1)
            if not condition.free & {*summed}:
                condition = self.b_compare([scope[-1]], 0)
            found.append(condition.text)
        if not found:
            return ""
        return (
            self.pick([" ", "\n        "])
            + "where "
            + self.pick([", ", "\n        where "]).join(found)
        )

    def einsum(self, left: list[str] | None = None) -> None:
        """One Einsum, with implicit sums or without."""
        kind = self.pick(["float", "float", "float", "int", "bool"])
        extra: list[str] = []
        if left is None and self.chance(70):
            known = self.pick(self.tensors).sizes
            fitting = [v for v, size in self.variables.items() if size in known]
            left = self.some([v for v in fitting if v not in self.wide], 1, 2)
            left = left if self.chance(95) else []
            extra = [v for v in fitting if v not in left][: 3 - len(left)]
        elif left is None:
            left = self.left()
        if not extra:
            extra = [v for v in self.some(self.variables, 0, 2) if v not in left]
        if kind == "bool":
            extra = []
        self.fuel = 14
        scope = [*left, *extra]
        if extra and self.chance(60):
            a, b = self.expr(kind, scope, 2), self.expr(kind, scope, 2)
            part = self.binary("*" if a.bits + b.bits <= 12 else "+", a, b, kind)
            if self.chance(30):
                part = self.binary("+", part, self.expr(kind, left, 1), kind)
        else:
            part = self.expr(kind, scope, 3)
        written = sorted(v for v in part.free - {*left} if not stands(part, v))
        if written:
            part = self.reduced("sum", written, part, kind)
        summed = sorted(part.free - {*left})
        both = part.op == "*" and all({*summed} <= p.free for p in part.parts)
        part = replace(part, bits=part.bits + 3 * len(summed))
        if part.kind == "float" and part.bits > FLOAT_BITS + 2 and not summed:
            part = self.make(f"tanh({part.text})", "float", 0, None, part)
        if not summed and self.chance(40):
            other = self.leaf(kind, left)
            bits, grain = self.either(part, other)
            text = f"default({part.text}, {other.text})"
            part = self.make(text, kind, bits, grain, part, other)
        name = self.name()
        where = self.conditions(left, summed, both)
        self.lines.append(f"{name}[{','.join(left)}] = {part.text}{where}")
        grain = part.grain if part.exact else None
        self.tensors.append(Tensor(name, self.sizes(left), kind, part.bits, grain))

    def sizes(self, left: Sequence[str]) -> tuple[str, ...]:
        """The sizes of the ranges of some variables."""
        return tuple(self.variables[v] for v in left)

    def recurrence(self) -> None:
        """A recurrence of one or two tensors, in either form."""
        narrow = [v for v in self.variables if v not in self.wide]
        t = self.stepping = self.pick(narrow)
        left = [v for v in self.left(2) if v != t]
        at = self.below(len(left) + 1)
        kind = self.pick(["float", "float", "int", "bool"])
        before = self.chance(50)
        name, helper = self.name("Z"), self.name("Y")

        def point(tensor: str, index: str, others: Sequence[str]) -> str:
            return f"{tensor}[{','.join([*others[:at], index, *others[at:]])}]"

        left_all = [*left[:at], t, *left[at:]]
        own = frozenset(left_all)
        others = left
        if left and self.chance(20):
            others = [f"{left[0]} - 1", *left[1:]]
        previous = Part(point(name, f"{t} - 1" if before else t, others), kind, 3, None, own)
        empty = self.chance(25)
        if empty:
            previous = replace(previous, text=f"default({previous.text}, {self.literal(kind)})")
        group = self.chance(40)
        self.fuel = 8
        nothing = "only(true, false)" if kind == "bool" else "absent"
        start = nothing if empty else self.start(kind, left)
        lines = [f"{point(name, '-1' if before else '0', left)} = {start}"]
        if group:
            step = self.step(kind, previous, left_all)
            lines.append(
                f"{point(helper, t, left)} = {step.text}{self.conditions(left_all, [], False)}"
            )
            self.fuel = 6
            fresh = Part(point(helper, t, left), kind, step.bits, step.grain, own)
            if self.chance(50):
                fresh = replace(fresh, text=f"default({fresh.text}, {previous.text})")
            step = self.step(kind, fresh, left_all)
        else:
            step = self.step(kind, previous, left_all)
        text = f"{point(name, t if before else t + '+1', left)} = {step.text}"
        lines.append(text + self.conditions(left_all, [], False))
        self.lines += lines
        bits, grain = (8, None) if kind == "float" else (3, 0)
        self.tensors.append(Tensor(name, self.sizes(left_all), kind, bits, grain, not before))
        if group:
            self.tensors.append(Tensor(helper, self.sizes(left_all), kind, bits, grain))

    def start(self, kind: str, left: Sequence[str]) -> str:
        """An initial value."""
        reads = [t for t in self.tensors if t.kind == kind and t.bits <= 3]
        if reads and self.chance(50):
            read = self.read(self.pick(reads), left)
            if read.free <= {*left}:
                return read.text
        return self.literal(kind).text if kind != "float" else self.pick(["0", "0.5", "-1"])

    def step(self, kind: str, previous: Part, scope: Sequence[str]) -> Part:
        """What a recurrence makes of its previous value; stays small."""
        x, c = self.expr(kind, scope, 2), self.expr("bool", scope, 1)
        if kind == "float" and x.bits > 3:
            x = self.make(f"sin({x.text})", "float", 0, None, x)
        if kind == "int" and x.bits > 6:
            x = self.make(f"{x} % 5", "int", 3, 0, x, atom=False)
        form = self.pick(STEPS[kind])
        return self.make(form.format(previous, x, c), kind, 4, None, previous, x, c, atom=False)

    def triangle(self) -> None:
        """A row that reads every earlier row of its own tensor."""
        ranges = self.variables
        pairs = [(t, s) for t in ranges for s in ranges if t != s and ranges[t] == ranges[s] != "L"]
        name = self.name("Z")
        if not pairs:
            t = self.stepping = self.pick([v for v in self.variables if v not in self.wide])
            self.fuel = 6
            x = self.step("float", Part(f"default({name}[{t} - 1], 1)", "float", 3, None), [t])
            self.lines.append(f"{name}[{t}] = {x.text}")
            self.tensors.append(Tensor(name, self.sizes([t]), "float", 8, None))
            return
        t, s = self.pick(pairs)
        self.stepping = t
        left = [t, *(v for v in self.left(1) if v not in (t, s))]
        self.fuel = 8
        x = self.expr("float", left, 2)
        if x.bits > 3:
            x = self.make(f"sin({x.text})", "float", 0, None, x)
        weight = self.leaf("float", [t, s])
        row = ",".join([s, *left[1:]])
        term = f"sum[{s}](cos({weight.text}) / 4 * {name}[{row}])"
        form = self.pick(["{} - default({}, 0)", "plus({}, {})"])
        self.lines.append(f"{name}[{','.join(left)}] = {form.format(x, term)}")
        self.tensors.append(Tensor(name, self.sizes(left), "float", 8, None))

    def outputs(self) -> str:
        """The last tensor and some others that can be outputs."""
        named = {*self.extents(), "2", "3"}
        own = [
            t for t in self.tensors if t.name[0] in "TYZ" and not t.longer and {*t.sizes} <= named
        ]
        items = []
        for tensor in [own[-1], *self.some(own[:-1], 0, 2)]:
            element, fills = {
                "bool": (": bool", ["", "true", "false"]),
                "int": (self.pick([": i32", ": i64"]), ["", "-1", "7"]),
                "float": (self.pick(["", "", "", ": f32", ": f64"]), ["", "-inf", "0.5", "-1"]),
            }[tensor.kind]
            if tensor.kind == "int" and tensor.bits <= 6 and self.chance(20):
                element = ": i8"
            if tensor.kind == "float" and tensor.grain is not None and self.chance(20):
                element = self.pick([": f16", ": bf16"])
            fill = self.pick(fills)
            text = f"{tensor.name}[{','.join(tensor.sizes)}]{element}"
            items.append(text + (f" empty {fill}" if fill else ""))
        return ", ".join(items)

    def cascade(self) -> str:
        """The whole text."""
        arguments = self.header()
        self.declarations()
        for _ in range(1 + self.below(4)):
            form = self.below(10)
            if form < 7:
                self.einsum()
            elif form < 9:
                self.recurrence()
            else:
                self.triangle()
            self.stepping = ""
        ranks = [v for v, size in self.variables.items() if size in self.extents()]
        self.einsum(self.some(ranks, 0, 3) if not self.wide else self.some(ranks, 0, 2))
        outputs = self.outputs()
        macros = "".join(MACROS[name] + "\n" for name in self.used)
        body = "".join(f"    {line}\n" for line in self.lines)
        return f"{macros}cascade random_one({arguments}) -> {outputs}:\n{body}"


def _forms(letter: str, often: str) -> list[str]:
    every = [n for n in vars(_Maker) if n.startswith(f"{letter}_")]
    return [*every, *(f"{letter}_{n}" for n in often.split())]


FORMS: Final = {
    "float": _forms(
        "f",
        "sum sum product product product function function stepped stepped "
        "extreme reduce branch macro",
    ),
    "int": _forms("i", "leaf leaf arithmetic arithmetic division division negated cast cast"),
    "bool": _forms("b", "compare compare compare logical"),
}


@lru_cache(maxsize=256)
def _choice(n: int) -> st.SearchStrategy[int]:
    return st.integers(0, n - 1)


@st.composite
def cascades(draw: st.DrawFn) -> str:
    """Texts of one valid cascade each."""
    return _Maker(lambda n: draw(_choice(n)) if n > 1 else 0).cascade()


def cascade_from(rng: np.random.Generator) -> str:
    """A cascade from a seeded generator: for long runs, without shrinking."""
    return _Maker(lambda n: int(rng.integers(n))).cascade()


def inputs_for(
    facts: Facts, rng: np.random.Generator, nonfinite: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Small inputs and parameters: sizes 0 to 4, multiples of 1/8, some NaN and infinities."""
    cascade = facts.cascade
    sizing = {
        node.name
        for s in cascade.statements
        if isinstance(s, Binding | Variables)
        for node in subexpressions(s.value if isinstance(s, Binding) else s.range)
        if isinstance(node, Value)
    }
    params: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for p in cascade.parameters:
        if p.type == "float":
            params[p.name] = int(rng.integers(-16, 17)) / 8
        elif p.type == "bool":
            params[p.name] = bool(rng.integers(2))
        else:
            low = 1 if p.name.isupper() else 0 if p.name in sizing else -2
            params[p.name] = sizes[p.name] = int(rng.integers(low, 4))
        if p.default is not None and rng.random() < 0.3:
            params[p.name] = sizes[p.name] = p.default
            del params[p.name]
    wild = nonfinite and rng.random() < 0.3
    arrays = {}
    for item in cascade.inputs:
        for size in item.sizes:
            if isinstance(size, str) and size not in sizes:
                sizes[size] = int(rng.choice(5, p=[0.03, 0.12, 0.3, 0.33, 0.22]))
        shape = [sizes[s] if isinstance(s, str) else s for s in item.sizes]
        arrays[item.name] = _array(item.element or "f64", shape, rng, wild)
    return arrays, params


def _array(element: str, shape: list[int], rng: np.random.Generator, wild: bool) -> np.ndarray:
    if element == "bool":
        return rng.integers(2, size=shape).astype(bool)
    if element[0] in "iu":
        kind = {"i8": np.int8, "u8": np.uint8, "i32": np.int32, "i64": np.int64}[element]
        return rng.integers(0 if element == "u8" else -3, 6, size=shape).astype(kind)
    array = rng.integers(-16, 17, size=shape) / 8
    if wild:
        array[rng.random(shape) < 0.08] = rng.choice([np.nan, np.inf, -np.inf])
    return array.astype({"f16": np.float16, "f64": np.float64}.get(element, np.float32))


def tolerance(facts: Facts, floating: str = "f64") -> float:
    """Absolute and relative tolerance for a result of these cascades."""
    narrow = ("f16", "bf16", "f32")
    single = floating == "f32" or any(t.kind is Kind.F32 for t in facts.types.values())
    for einsum in facts.cascade.einsums:
        for expr in (einsum.value, *einsum.where):
            nodes = subexpressions(expr)
            single |= any(isinstance(n, Apply) and n.function in narrow for n in nodes)
    declared = any(o.element in narrow for o in facts.cascade.outputs)
    return 1e-3 if single else 1e-6 if declared else 1e-9
