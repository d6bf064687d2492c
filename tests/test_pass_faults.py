"""Seeded faults in passes on cascades: each changes values, or the tests of values could not fail.

A fault is a piece of a pass's text and what is put in its place, in a module of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import attnc
from attnc.compilation import verify
from attnc.errors import InternalError
from attnc.ir.facts import Facts
from attnc.passes.algebra.program import Pass
from tests.contractions import contraction
from tests.oracle.cascades import cascade_from, tolerance
from tests.preserved import preserved, random_inputs

FOLDER = Path(__file__).parent / "passes"
PACKAGE = "attnc.passes.algebra"
RANDOM = 60


@dataclass(frozen=True)
class Fault:
    """`old` becomes `new` in a module that a pass is made of; by default its own."""

    name: str
    step: str
    old: str
    new: str
    module: str = ""


FAULTS = [
    Fault("a condition is lost", "separate", "where=where)]", "where=where[1:])]"),
    Fault(
        "a reduction is read at its own variables",
        "separate",
        "made.variables, node.span",
        "[*made.variables[:-2], *made.variables[:-3:-1]], node.span",
    ),
    Fault("a sign is lost", "simplify", 'Binary("+", x, y', 'Binary("-", x, y'),
    Fault(
        "1 / x is x",
        "simplify",
        'case Binary(op="*", left=one, right=x)',
        'case Binary(op="*" | "/", left=one, right=x)',
    ),
    Fault("the neutral operand is the other", "simplify", 'Bool(op == "and")', 'Bool(op == "or")'),
    Fault("a mean of means is a mean", "simplify", '"all"))', '"all", "mean"))'),
    Fault("a variable takes a name in use", "simplify", "if name not in taken:", "if name != '':"),
    Fault(
        "Einsums of other conditions are equal",
        "cse",
        "where = frozenset(self.numbers(c, left) for c in einsum.where)",
        "where = frozenset[int]()",
    ),
    Fault(
        "a tensor with a condition holds its value everywhere",
        "cse",
        "return whole and not einsum.where and",
        "return whole and",
    ),
    Fault(
        "a tensor is read at swapped ranks",
        "cse",
        "for i in self.order",
        "for i in range(len(self.order))",
    ),
    Fault("a difference commutes", "cse", 'frozenset("+*&|^")', 'frozenset("+-*&|^")', "numbering"),
    Fault(
        "a comparison is turned by half",
        "cse",
        "return numbers[::-1]",
        "return numbers",
        "numbering",
    ),
    Fault(
        "a choice of equal parts",
        "cse",
        "return type(expr).__name__, *_own(expr, places), *ranges,",
        "return type(expr).__name__, *ranges,",
        "numbering",
    ),
    Fault(
        "an output is not needed",
        "cse",
        "for o in facts.cascade.outputs]",
        "for o in facts.cascade.outputs[:1]]",
    ),
    Fault("a condition is lost", "inline", "if not einsum.where:", "if einsum.where or True:"),
    Fault(
        "what is beyond the bounds is present",
        "inline",
        "isinstance(index, Var) and self.facts.variables[index.name] == dimension.range",
        "dimension is not None and index is not None",
    ),
    Fault("a factor is dropped", "hoist", "reversed(parts.factors):", "parts.factors[1:]:"),
    Fault(
        "a factor that varies leaves",
        "hoist",
        "return not self.free(expr) & variables",
        "return bool(variables - self.free(expr))",
    ),
    Fault(
        "a divisor multiplies",
        "hoist",
        'Binary("/", result, divisor',
        'Binary("*", result, divisor',
    ),
    Fault("a sign is lost", "hoist", "negative=not parts.negative", "negative=parts.negative"),
    Fault(
        "a condition is lost",
        "hoist",
        "inside=rebuild(expr, (parts.inside, condition))",
        "inside=parts.inside",
    ),
    Fault(
        "a divisor multiplies", "order", "free(right), divides=True", "free(right)", "contraction"
    ),
    Fault(
        "a condition is lost",
        "order",
        'result = Apply("only", (result, part.expr))',
        "pass",
        "contraction",
    ),
    Fault(
        "a variable is summed while another factor needs it",
        "order",
        "return self.results.union(*others)",
        "return self.results.union(*list(others)[:1])",
        "contraction",
    ),
    Fault(
        "a variable is captured", "order", "for v in same if v not in taken", "for v in same if v"
    ),
    Fault(
        "a map's condition is lost",
        "order",
        "return found + [Factor(c, self.free(c), condition=True) for c in einsum.where]",
        "return found",
    ),
    Fault(
        "a sum that is read otherwise too is dissolved",
        "order",
        "if len(reads) != 1 or len(plain) != 1:",
        "if not plain:",
    ),
    Fault(
        "what does not vary along a sum is counted once",
        "order",
        "return value if frozenset[str]().union(*numbers) >= {*value.variables} else None",
        "return value if numbers else None",
    ),
    Fault("an output is dissolved", "order", "if member in self.outputs:", "if member == '':"),
]


def module(name: str, fault: Fault | None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the passes read anew, with a fault; others import it from now on."""
    original = import_module(f"{PACKAGE}.{name}")
    assert original.__file__ is not None
    text = Path(original.__file__).read_text(encoding="utf-8")
    if fault is not None:
        assert text.count(fault.old) == 1, "the text that this fault changes has moved"
        text = text.replace(fault.old, fault.new)
    made = ModuleType(original.__name__)
    made.__file__ = original.__file__
    monkeypatch.setitem(sys.modules, original.__name__, made)
    exec(compile(text, original.__file__, "exec"), made.__dict__)
    return made


def step(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> Pass:
    """The pass with the fault."""
    if fault.module:
        module(fault.module, fault, monkeypatch)
    made = module(fault.step, None if fault.module else fault, monkeypatch)
    found: Pass = getattr(made, fault.step.capitalize())()
    return found


def cases(name: str, count: int) -> Iterator[tuple[Facts, int]]:
    """Cascades for a pass: those of its texts, then so many random ones of each kind."""
    for path in sorted((FOLDER / name).glob("*.attn")):
        facts = attnc.check(path.read_text(encoding="utf-8")).select()
        for seed in range(3):
            yield facts, seed
    for make in (contraction, cascade_from):
        for seed in range(count):
            yield attnc.check(make(np.random.default_rng(seed))).select(), seed


def run(tested: Pass, count: int = RANDOM) -> None:
    """Fails at the first cascade whose values a pass changes, or that is not valid after it."""
    for facts, seed in cases(tested.name, count):
        after = tested(facts)
        if after is facts:
            continue
        verify(tested, facts, after)
        inputs, parameters = random_inputs(facts, seed)
        finite = tested.name in ("hoist", "order")
        preserved(facts, after, inputs, parameters, max(1e-8, tolerance(facts)), finite)


@pytest.mark.parametrize("name", sorted({f.step for f in FAULTS}))
def test_no_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(step(Fault("none", name, "from __future__", "from __future__"), monkeypatch), 10)


@pytest.mark.parametrize("fault", [pytest.param(f, id=f"{f.step}: {f.name}") for f in FAULTS])
def test_fault_is_seen(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = step(fault, monkeypatch)
    with pytest.raises((AssertionError, InternalError, KeyError, SyntaxError)):
        run(faulty)
