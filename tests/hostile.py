"""Texts made to hurt: deep, wide, long, odd; and what must hold of the report on any text."""

from __future__ import annotations

import re
from typing import Final

from attnc.api import emit
from attnc.errors import Report, Source
from attnc.grammar.check import check
from attnc.ir.facts import Facts

CASCADE: Final = re.compile(r"^[ \t]*cascade\b", re.MULTILINE)


def checked(text: str) -> tuple[Report, tuple[Facts, ...]]:
    """What is found about a text; every place lies inside of it, and no error is silent."""
    report = Report(Source("mutant.attn", text))
    facts = check(report)
    for diagnostic in report.found:
        start, end = diagnostic.span
        assert 0 <= start <= end <= len(text) + 1, diagnostic
        assert start <= len(text), diagnostic
        for note in diagnostic.notes:
            assert 0 <= note.span.start <= len(text), diagnostic
        assert diagnostic.render()
    if not report.errors:
        assert len(facts) == len(CASCADE.findall(text.lstrip("\ufeff")))
    return report, facts


def reported(text: str) -> Report:
    """The report on a text, as `checked` looks at it."""
    return checked(text)[0]


def judged(text: str) -> bool:
    """Whether a text is valid; then its cascades become modules, which Python takes."""
    report, facts = checked(text)
    if report.errors:
        return False
    for found in facts:
        module = emit(found, backend="numpy", dtype=None, static={})
        compile(module, "mutant.py", "exec")
    return True


HEADER = "cascade a(X[T], y: float) -> O[T]:\n"


def _einsum(value: str) -> str:
    return f"{HEADER}    O[t] = {value}\n"


def _chain(count: int) -> str:
    macros = "".join(f"def q{i}(x) = q{i - 1}(x)\n" for i in range(1, count))
    return f"def q0(x) = x\n{macros}{_einsum(f'q{count - 1}(X[t])')}"


def _nested(name: str, count: int, first: str = "X[t]") -> str:
    return f"{name}(" * count + first + ")" * count


def _opened(name: str, count: int, closing: str) -> str:
    return f"{name}(" * count + "X[t]" + closing * count


def _balanced(count: int, item: str) -> str:
    """A sum of many items that does not nest deeply."""
    if count == 1:
        return item
    return f"({_balanced(count // 2, item)} + {_balanced(count - count // 2, item)})"


LAWFUL: Final = {
    "parentheses": _einsum("(" * 9_000 + "X[t]" + ")" * 9_000),
    "terms": _einsum(" + ".join(["X[t]"] * 119)),
    "calls": _einsum(_nested("exp", 118)),
    "comparisons": _einsum("1 if " + " < ".join(["t"] * 110) + " else 0"),
    "arguments": _einsum(f"max({', '.join(['y'] * 110)})"),
    "conditions": _einsum(f"X[t] where {', '.join(['t > 0'] * 4_000)}"),
    "ranks": f"cascade a(X[{','.join(f'R{i}' for i in range(40))}]) -> O[]:\n"
    f"    O[] = X[{','.join(f'r{i}' for i in range(40))}]\n",
    "comment": _einsum("X[t] # " + "x" * 900_000),
    "spaces": _einsum(" " * 900_000 + "X[t]"),
    "blank lines": HEADER + "\n" * 900_000 + "    O[t] = X[t]\n",
    "statements": HEADER + "".join(f"    Z{i}[t] = X[t]\n" for i in range(4_000)) + "    O[t]=X[t]",
    "cascades": "".join(f"cascade a{i}(X[T]) -> O[T]:\n O[t] = X[t]\n" for i in range(1_500)),
    "group": f"{HEADER}    O[t] = X[t]\n"
    + "".join(
        f"    Z{i}[t] = default(Z{(i + 1) % 900}[t{'-1' if i % 7 else ''}], 0)\n"
        for i in range(900)
    ),
    "byte-order mark and CRLF": "\ufeff" + _einsum("X[t]").replace("\n", "\r\n"),
    "signs": _einsum("-" * 118 + "X[t]"),
    "negations": _einsum("1 if " + "not " * 110 + "true else X[t]"),
    "complements": _einsum("X[t] * (" + "~" * 110 + "3)"),
    "powers": _einsum("**".join(["X[t]"] * 119)),
    "choices": _einsum(" if t > 0 else ".join(["X[t]"] * 110)),
    "indices": _einsum("X[" + "Y[" * 100 + "t" + "]" * 101).replace("X[T]", "X[T], Y[T]: i32"),
    "nested only": _einsum(_opened("only", 100, ", t > 0)")),
    "nested at": _einsum("at[t = t + 1](" * 10 + "X[t]" + ")" * 10),
    "nested sums": f"{HEADER}    var {', '.join(f'v{i}' for i in range(40))} in T\n    O[t] = "
    + "".join(f"sum[v{i}](" for i in range(40))
    + "X[t]"
    + ")" * 40
    + "\n",
    "a macro that doubles": "def f(x) = x + x\n" + _einsum(_nested("f", 12)),
    "25 ranks": f"cascade a(X[{','.join(f'R{i}' for i in range(25))}]) -> O[R0]:\n"
    f"    O[r0] = X[{','.join(f'r{i}' for i in range(25))}]\n",
    "60 inputs": f"cascade a({','.join(f'X{i}[T]' for i in range(60))}) -> O[T]:\n"
    f"    O[t] = {' + '.join(f'X{i}[t]' for i in range(60))}\n",
    "2,000 parameters": f"cascade a(X[T], {', '.join(f'p{i}: int = {i}' for i in range(2_000))})"
    " -> O[T]:\n    O[t] = X[t] * p7\n",
    "the longest name": _einsum("X[t]").replace("X", "X" * 200),
    "a float of many digits": _einsum("X[t] * 0." + "1" * 100_000),
    "a float near 0": _einsum("X[t] * 1e-999999"),
    "the largest integer": _einsum("X[t] * 9_223_372_036_854_775_807"),
    "a comment that turns around": _einsum("X[t] # \u202e \u2066 \x1b[2J \x07 \x9b2J"),
    "a comment of code": _einsum('X[t] # """; import os; os.abort() \\'),
    "a comment of line ends": _einsum("X[t] # \x85 \u2028 \u2029 \x0b \x0c\n    # {} %s {0!r}"),
}
LARGE: Final = {
    "statements that build on each other": HEADER
    + "    Z0[t] = X[t]\n"
    + "".join(f"    Z{i}[t] = Z{i - 1}[t] * y + {i} where t > 0\n" for i in range(1, 11_900))
    + "    O[t] = Z11899[t]\n",
    "a group": f"{HEADER}    O[t] = X[t]\n"
    + "".join(f"    Z{i}[t] = Z{i + 1}[t-1]\n" for i in range(11_900))
    + "    Z11900[t] = default(Z0[t-1], 0)\n",
    "macros": "def f(x) = x * x\n"
    + HEADER
    + "    var s in T\n"
    + "".join(f"    Z{i}[t] = {_nested('f', 11, f'sum[s](X[s] + {i})')}\n" for i in range(15))
    + "    O[t] = X[t]\n",
}
"""What is about as much as the limits let pass."""

HOSTILE: Final = {
    "signs": _einsum("-" * 10_000 + "X[t]"),
    "brackets": _einsum("X[" * 6_000 + "t" + "]" * 6_000),
    "negations": _einsum("not " * 10_000 + "X[t]"),
    "long sum": _einsum("+".join(["X[t]"] * 3_900)),
    "very long sum": _einsum("+".join(["X[t]"] * 5_000)),
    "powers": _einsum("**".join(["X[t]"] * 3_900)),
    "comparisons": _einsum("1 if " + " < ".join(["t"] * 9_000) + " else 0"),
    "arguments": _einsum(f"max({', '.join(['y'] * 9_000)})"),
    "choices": _einsum(" if true else ".join(["X[t]"] * 2_500)),
    "summed conditions": HEADER + "    var s in T\n    O[t] = X[s] where " + "s > 0, " * 4_000,
    "requirements": HEADER + "    require T > 0" + ", T > 0" * 4_000 + "\n    O[t] = X[t]\n",
    "softmax of softmax": _einsum(_nested("softmax[t]", 60)),
    "doubling": "def f(x) = x + x\n" + _einsum(_nested("f", 60)),
    "doubling macros": "def q0(x) = x + x\n"
    + "".join(f"def q{i}(x) = q{i - 1}(q{i - 1}(x))\n" for i in range(1, 40))
    + _einsum("q39(X[t])"),
    "doubling indices": "def f[e](x) = at[e = e + 1](x) * at[e = e * 2](x)\n"
    + _einsum(_nested("f[t]", 30)),
    "deep macros": f"def f(x) = {'-' * 100}x\n" + _einsum(_nested("f", 100)),
    "a chain of macros": _chain(3_000),
    "a macro of itself": "def f(x) = f(f(x))\n" + _einsum("f(X[t])"),
    "macros of each other": "def f(x) = g(x)\ndef g(x) = f(x)\n" + _einsum("f(X[t])"),
    "a long line": _einsum("X[t]+" * 200_000 + "1"),
    "a long line of signs": _einsum("-" * 1_000_000),
    "a long line of brackets": _einsum("(" * 1_000_000),
    "a long line of strange characters": _einsum("$" * 1_000_000),
    "a long line of digits": _einsum("1" * 1_000_000),
    "a long line of separated digits": _einsum("1_" * 500_000 + "1"),
    "a long line of separated fractions": _einsum("1." + "1_" * 490_000 + "1e"),
    "a long name": _einsum("X" * 1_000_000),
    "a large integer": _einsum("X[t] * " + "9" * 10_000),
    "a large size": f"cascade a(X[{'9' * 10_000}]) -> O[3]:\n    var i in 3\n    O[i] = X[i]\n",
    "a large float": _einsum("X[t] * 1e999"),
    "a large hexadecimal": _einsum("X[t] * 0x" + "f" * 10_000),
    "NUL": _einsum("X[t]\0"),
    "old line ends": _einsum("X[t]").replace("\n", "\r"),
    "surrogate": _einsum("X[t] \ud800"),
    "line separators": _einsum("X[t]\u2028  P[t] = X[t]\x85\x0c"),
    "digits of another script": _einsum("X[t] * \u0663"),
    "brackets never closed": HEADER + "    O[t] = (X[t]\n" * 1_000,
    "square brackets never closed": HEADER + "    O[t] = X[t\n" * 1_000,
    "brackets never opened": HEADER + "    O[t] = X[t])\n" * 1_000,
    "many unknown names": HEADER + "".join(f"    Z{i}[t] = zz{i}\n" for i in range(5_000)),
    "many syntax errors": HEADER + "".join(f"    Z{i}[t] = * zz{i}\n" for i in range(4_000)),
    "many definitions": HEADER + "    O[t]=X[t]\n" * 5_000,
    "many inputs": f"cascade a({','.join(f'X{i}[T{i}]' for i in range(3_000))}) -> O[]:\n O[] = Y",
    "underscores": "cascade a(__class__[T]) -> O[T]:\n    O[t] = __class__[t]\n",
    "one underscore": _einsum("_acc[t]"),
    "very many statements": HEADER + "    Z[t] = X[t]\n" * 20_000 + "    O[t] = X[t]\n",
    "very many ranks": f"cascade a(X[{','.join(f'R{i}' for i in range(60))}]) -> O[]:\n"
    f"    O[] = X[{','.join(f'r{i}' for i in range(60))}]\n",
    "complements": _einsum("~" * 10_000 + "3"),
    "nested only": _einsum(_opened("only", 3_000, ", t > 0)")),
    "nested at": _einsum("at[t = t + 1](" * 3_000 + "X[t]" + ")" * 3_000),
    "nested sums": _einsum("sum[t](" * 3_000 + "X[t]" + ")" * 3_000),
    "nested brackets of calls": _einsum("argtopk[" * 3_000 + "t -> t](" + ")" * 3_000),
    "doubling by at": "def f[t](x) = x * at[t = t + 1](x)\n" + _einsum(_nested("f[t]", 40)),
    "doubling in conditions": "def f(x) = x and x\n"
    + _einsum(f"X[t] where {_nested('f', 60, 't > 0')}"),
    "doubling in a value": "def f(x) = x + x\n" + HEADER + f"    z = {_nested('f', 60, 'y')}\n",
    "macros that grow together": "def f(x) = x * x\n"
    + HEADER
    + "".join(f"    Z{i}[t] = {_nested('f', 12)}\n" for i in range(2_000))
    + "    O[t] = X[t]\n",
    "conditions in every sum": HEADER
    + "    var s in T\n"
    + f"    O[t] = {_balanced(900, 'X[s] * X[t]')} where {', '.join(['s > 0'] * 110)}\n",
    "a recurrence that never begins": HEADER
    + "    Z0[t] = default(Z1[t-1], 0)\n"
    + "".join(f"    Z{i}[t] = Z{i - 1}[t] + Z{(i + 1) % 2_000}[t-1]\n" for i in range(1, 2_000))
    + "    O[t] = X[t]\n",
    "macros of unknown functions": "".join(f"def f{i}(x) = g{i}(x)\n" for i in range(3_000))
    + _einsum("X[t]"),
    "a macro of many parameters": f"def f({','.join(['p'] * 9_000)}) = p\n" + _einsum("X[t]"),
    "a very large exponent": _einsum("X[t] * 1e999999"),
    "100,000 digits": _einsum("X[t] * " + "9" * 100_000),
    "100,000 hexadecimal digits": _einsum("X[t] * 0x" + "f" * 100_000),
    "a very large default": "cascade a(X[T], y: float = 1e999999) -> O[T]:\n    O[t] = X[t] * y\n",
    "a literal beyond 64 bits": _einsum("X[t] * 9223372036854775808"),
    "two byte-order marks": "\ufeff\ufeff" + _einsum("X[t]"),
    "a byte-order mark inside": _einsum("X[t] \ufeff+ 1"),
    "code that turns around": _einsum("X[t] \u202e+ 1\u2066"),
    "nothing to be seen": _einsum("X[t]\u200b + \u2060X[t]"),
    "letters that look like others": _einsum("\u0425[t]"),
    "full-width letters": _einsum("\uff38\uff3bt\uff3d"),
    "marks that combine": _einsum("X\u0301\u0301\u0301[t]"),
    "tags": _einsum("X[t] \U000e0041\U000e007f"),
    "escapes": _einsum("X[t] \x1b]0;title\x07 \x1b[2J \x9b2J \x08\x7f"),
    "quotes": _einsum('X[t] """; import os #'),
    "other quotes": _einsum("X[t] ''' + '%s{}' % exec"),
    "backslashes": _einsum("X[t] \\\n + 1 \\"),
    "a format": _einsum("X[t] {0.__class__} %(x)s ${HOME} `id`"),
    "a call of Python": _einsum("__import__('os').abort()"),
    "other calls of Python": _einsum("eval(exec(open(X[t])))"),
    "nothing": "",
    "white space": " \t\n\n",
}
BYTES: Final = {
    "a surrogate": _einsum("X[t]").encode() + b"# \xed\xa0\x80\n",
    "an overlong slash": _einsum("X[t] \xc0").encode("latin-1") + b"\xaf",
    "UTF-16": _einsum("X[t]").encode("utf-16"),
    "UTF-32": _einsum("X[t]").encode("utf-32"),
    "Latin": _einsum("X[t] # \xe9").encode("latin-1"),
    "a program": b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 100,
    "zeros": bytes(1_000_000),
    "too many bytes": b"\xff" * 6_000_000,
    "half a letter": _einsum("X[t] # \u2211").encode()[:-2],
}
"""What is no text."""
