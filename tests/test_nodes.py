"""Nodes of trees: they are what dataclasses are, but sooner made, compared and looked up."""

from __future__ import annotations

import copy
import gc
import pickle
from collections import Counter
from dataclasses import dataclass, fields, replace
from fractions import Fraction

import pytest

import attnc.ir.tiles_known as known
from attnc.api import check, emit
from attnc.errors import Span
from attnc.ir import expr as kinds
from attnc.ir.expr import Absent, Binary, Expr, Int, Value, Var
from attnc.ir.nodes import Hashed, Noted, changed, noted
from attnc.ir.tiles_facts import facts_of
from attnc.passes.tiling.scalars import _SCALARS, ONE, Scalar
from attnc.planning import Plans, planned
from tests import examples

SUM = Binary("+", Var("m"), Binary("*", Int(2), Value("N")))


def again(span: Span) -> Binary:
    """The sum, made anew, with other spans."""
    inner = Binary("*", Int(2, span), Value("N"), span)
    return Binary(op="+", left=Var("m", span=span), right=inner, span=span)


def test_they_compare_by_what_they_hold() -> None:
    other = again(Span(3, 4))
    assert other == SUM
    assert hash(other) == hash(SUM) == hash(other)
    assert {SUM: 1}[other] == 1
    assert Var("N") != Value("N") != Int(1)
    assert Int(1) != 1
    assert Absent() == Absent(Span(1, 2))
    different = [replace(SUM, **{f.name: Int(7)}) for f in fields(SUM) if f.compare]
    assert all(d != SUM for d in different)


@pytest.mark.parametrize("kind", [k for k in vars(kinds).values() if isinstance(k, type)])
def test_each_field_is_set_by_its_own_name(kind: type) -> None:
    if not (issubclass(kind, Hashed) and kind is not Hashed):
        return
    names = [f.name for f in fields(kind)]
    for made in (kind(*names), kind(**{n: n for n in names})):
        assert [getattr(made, n) for n in names] == names
    assert kind(*names) == kind(*names)
    others = [kind(*("x" if n == f.name else n for n in names)) for f in fields(kind) if f.compare]
    assert all(other != kind(*names) for other in others)


def test_copies_are_equal_though_their_hashes_are_their_own() -> None:
    hash(SUM)
    for made in (copy.copy(SUM), copy.deepcopy(SUM), pickle.loads(pickle.dumps(SUM))):  # noqa: S301
        assert made == SUM
        assert not hasattr(made, "_hash")
        assert hash(made) == hash(SUM)


def test_what_does_not_change_is_the_same_object() -> None:
    assert changed(SUM, left=SUM.left, op="+") is SUM
    made = changed(SUM, left=Int(5))
    assert made == Binary("+", Int(5), SUM.right)
    assert made.span == SUM.span
    assert SUM.left == Var("m")
    compare = kinds.Compare(("<",), (Int(0), Int(1)))
    assert changed(compare, operands=(*compare.operands,)) is compare
    assert changed(compare, operands=(Int(0),)) != compare


@dataclass(frozen=True, slots=True)
class Holder(Noted):
    """Something that is looked at."""

    value: Expr


def test_what_is_said_of_a_node_is_told_once_for_each() -> None:
    asked = Counter[int]()

    @noted
    def said(node: Holder) -> Expr:
        asked[id(node)] += 1
        return node.value

    @noted
    def told(node: Holder) -> Holder:
        return node

    one, two = Holder(Int(1)), Holder(Int(1))
    assert [said(one), said(two), said(one)] == [Int(1)] * 3
    assert told(one) is one
    assert asked == {id(one): 1, id(two): 1}
    assert one == two


def test_units_that_are_equal_are_one_object() -> None:
    atoms = ((Value("E"), Fraction(1, 2)),)
    one = Scalar(Fraction(2, 3), atoms)
    assert Scalar(Fraction(4, 6), ((Value("E"), Fraction(1, 2)),)) is one
    assert one * one.inverse is ONE is Scalar()
    assert pickle.loads(pickle.dumps(one)) is copy.deepcopy(one) is one  # noqa: S301
    assert ONE.number == 1
    assert Scalar(Fraction(3, 2), atoms) is not one


def test_units_go_when_nobody_has_them() -> None:
    def there() -> bool:
        return (Fraction(7, 1234567), ()) in _SCALARS

    one = Scalar(Fraction(7, 1234567))
    assert there()
    assert one.number == Fraction(7, 1234567)
    del one
    gc.collect()
    assert not there()


def test_what_one_asks_does_not_change_what_another_one_knows() -> None:
    """Of plans with the same values, what is known is found once; each has it for itself."""
    plan = planned(check(examples.text("gqa_causal")).select())[1].plan
    values = facts_of(plan).values
    first = known.known_of(plan, values)
    atoms = {*first.atoms}
    assert not first.shows(kinds.Compare(("<",), (Value("M"), Var("new"))))
    assert "new" in first.atoms
    second = known.known_of(plan, values)
    assert {*second.atoms} == atoms
    assert second == known.known_of(replace(plan, name="other"), values)
    more = replace(plan, requires=(*plan.requires, kinds.Compare(("<",), (Value("M"), Int(7)))))
    assert known.known_of(more, values) != second


@pytest.mark.parametrize("name", ["gqa_causal", "differential"])
def test_texts_are_the_same_whatever_was_made_before(name: str) -> None:
    """A module for few rows begins where the one before it did."""
    facts = check(examples.text(name)).select()

    def text(*, later: bool, plans: Plans | None) -> str:
        return emit(facts, backend="tvm", dtype=None, static={}, later=later, plans=plans)

    plans = Plans(facts, lists=False)
    both = [text(later=later, plans=plans) for later in (True, False, True, False)]
    assert both[:2] == both[2:]
    assert both[1] == text(later=False, plans=None)
    assert both[0] == text(later=True, plans=None) != both[1]
