"""Texts of the Triton backend, read and not run: goldens, loops, offsets of 64 bits."""

from __future__ import annotations

import ast
import re

import pytest

from attnc import api
from attnc.backends.options import Options
from attnc.backends.triton.emit import emit_plan
from attnc.backends.triton.layout import laid_out
from attnc.ir.tiles import If, Kernel, Loop, Plan, Statement
from attnc.ir.tiles_walk import in_turn, statements
from attnc.planning import for_device
from tests import examples, golden
from tests.kernel_text import loops, parsed, products, strides, unsafe
from tests.prepared import device_of, pieces_of, triton_of
from tests.test_gallery import facts

THREE_PASSES = (
    "dense",
    "causal",
    "alibi",
    "gqa",
    "gqa_causal",
    "mqa",
    "softcap",
    "rotary",
    "entropy",
    "differential",
    "fusemax_three_pass",
    "sliding_window_sinks",
    "quantised",
    "cog",
    "normalised",
)
"""Examples whose text takes three passes over the keys, and which are one kernel with one loop."""


def text(name: str) -> str:
    return triton_of(examples.text(name))


def plan(name: str) -> Plan:
    return device_of(examples.text(name))


@pytest.mark.parametrize("name", examples.NAMES)
def test_texts(name: str, renew: bool) -> None:
    golden.compare("triton", name, text(name), renew, ".py.txt")


@pytest.mark.parametrize("name", ["causal", "packed_documents"])
def test_what_is_emitted_is_such_a_text(name: str) -> None:
    """But for its head, which says where the plan comes from, and with streams in pieces, too."""
    both = pieces_of(examples.text(name))
    assert both is not None
    head, first, _ = both.partition("\n")
    found = api.emit(facts(name), backend="triton", dtype=None, static={})
    assert found.startswith(head + first)
    assert found.partition('\n"""\n')[2] == both.partition('\n"""\n')[2] != ""


def test_no_orphans(renew: bool) -> None:
    if renew:
        golden.prune("triton", examples.NAMES, ".py.txt")
    assert golden.orphans("triton", examples.NAMES, ".py.txt") == []


BESIDE = """
cascade beside(X0[M,N,E], X1[E]) -> T[] empty 0.5, U[] empty 1:
    T[] = max[e](X1[e] + X0[1,1,0])
    U[] = 2.0
"""


def test_what_goes_before_a_loop_is_tested_there() -> None:
    """A round of the loop says that there is an element; before it nothing does."""
    facts_ = api.check(BESIDE).select()
    shown = emit_plan(for_device(facts_), Options())
    assert "tl.load(X0_at, mask=(1 < M) & (1 < N) & (0 < E))" in shown


# Loops


def rounds(kernel: Kernel, body: tuple[Statement, ...]) -> int:
    """How many loops statements are: one for each class of ranges, those inside of it again."""
    found = 0
    for item in body:
        match item:
            case Loop(axis=axis, body=inner):
                classes = in_turn(item, kernel.axis(axis).kind)
                found += len(classes) * (1 + rounds(kernel, inner))
            case If(body=inner):
                found += rounds(kernel, inner)
            case _:
                pass
    return found


@pytest.mark.parametrize("name", examples.NAMES)
def test_loops_are_those_of_the_plan(name: str) -> None:
    kernels = parsed(text(name)).kernels
    assert len(kernels) == len(plan(name).kernels)
    for written, planned in zip(kernels, plan(name).kernels, strict=True):
        assert len(loops(written)) == rounds(planned, planned.body), planned.name


@pytest.mark.parametrize("name", THREE_PASSES)
def test_one_loop_over_the_keys(name: str) -> None:
    """What is written in three passes is one kernel, whose loop is printed for each class once."""
    *tables, planned = plan(name).kernels
    assert not any(isinstance(s, Loop) for k in tables for s in statements(k.body))
    (loop,) = (s for s in statements(planned.body) if isinstance(s, Loop))
    assert {r.full for r in loop.ranges} == {False, True}
    *_, kernel = parsed(text(name)).kernels
    assert [isinstance(n, ast.For) for n in kernel.body].count(True) == len(loops(kernel)) == 2


# Offsets


@pytest.mark.parametrize("name", examples.NAMES)
def test_offsets_have_64_bits_where_they_need_them(name: str) -> None:
    """Each product with a stride is made in 64 bits, or in coordinates whose reach is looked at."""
    assert unsafe(text(name)) == []


def test_all_addresses_are_looked_at() -> None:
    """Every stride of every kernel is a factor of some product."""
    for name in examples.NAMES:
        module = parsed(text(name))
        for kernel in module.kernels:
            given = strides(kernel, text(name))
            assert given, f"{name} {kernel.name}"
            used = {n.id for n in ast.walk(kernel) if isinstance(n, ast.Name)}
            factors = {
                n.right.id
                for n in ast.walk(kernel)
                if isinstance(n, ast.BinOp)
                and isinstance(n.op, ast.Mult)
                and isinstance(n.right, ast.Name)
            }
            assert used & set(given) <= factors
            loads = ast.unparse(kernel).count("tl.load(") + ast.unparse(kernel).count("tl.store(")
            assert loads >= 1
    assert sum(products(text(name)) for name in examples.NAMES) > 1000


NARROWED = {
    "a coordinate of 32 bits": (r"\.to\(INDEX\)", ""),
    "a program of 32 bits": (r"program_id\(0\)\.to\(tl\.int64\)", "program_id(0)"),
    "a number of 32 bits": (r"tl\.cast\((\w+), tl\.int64\) \* ", r"\1 * "),
    "a rank that is not looked at": (r"_index\(\[\(Q, \([\d, ]+\)\)", "_index([(Q, (0,))"),
}


@pytest.mark.parametrize("fault", NARROWED)
def test_narrow_offsets_are_seen(fault: str) -> None:
    pattern, other = NARROWED[fault]
    seen = 0
    for name in ("causal", "gqa_causal", "retention", "paged_decode"):
        changed = re.sub(pattern, other, re.sub(r"_index\(\s+", "_index(", text(name)))
        seen += changed != text(name) and bool(unsafe(changed))
    assert seen


LONG = [
    "    _dot(c, (lambda n, e: _wide(K[b, {x} // {x}, n0 + n, e], FLOAT)), q, {x}, {x}, {x})",
    "    f({x}, _either({x}, (lambda f, n: {x}[n] * {x} + {x}), (lambda: v[n, {x}])), ({x}, {x},))",
    "    c = {x} * {x} + {x}[{x}, :] if {x} else g(lambda a, b: (a, b), {x})",
]


@pytest.mark.parametrize("line", LONG)
def test_long_lines_say_the_same(line: str) -> None:
    """On several lines, too, in which a lambda of several arguments is one argument of a call."""
    line = line.format(x="a_name_of_some_length")
    found = laid_out(line)
    assert len(found) > 1
    assert ast.dump(ast.parse("\n".join(found).strip())) == ast.dump(ast.parse(line.strip()))
