"""What requirements claim of tensors: that one is sorted along a rank.

`require all[b,n](doc[b,n] <= doc[b,n+1])` says so: each element is compared with the next one along
one rank, all other coordinates being the same, wherever there is a next one. The claim is read off
the comparison; how variables are called, which side is greater and which of both is the later one
make no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from attnc.ir.comparisons import TURNED, pairs
from attnc.ir.expr import Binary, Compare, CompareOp, Expr, Int, Read, Reduce, Unary, Value, Var
from attnc.ir.polynomials import ONE, Sum, less, number, plus
from attnc.ir.tiles import Plan
from attnc.ir.tiles_facts import loaded_types, tensor_sizes
from attnc.ir.tiles_walk import conjuncts
from attnc.ir.types import Kind

UP: Final = (">=", ">")
"""What holds from some place on in a rank that ascends."""
DOWN: Final = ("<=", "<")
"""What holds from some place on in a rank that descends."""


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """That a tensor ascends along a rank, or descends; `strict`: no two elements are the same."""

    tensor: str
    rank: int
    down: bool
    strict: bool

    @property
    def op(self) -> CompareOp:
        """How each element compares with the next one."""
        if self.down:
            return ">" if self.strict else ">="
        return "<" if self.strict else "<="


def claims_of(plan: Plan, requirement: Expr) -> tuple[Claim, ...] | None:
    """The claims that a requirement is made of; None if it is more than such, or another one."""
    found = tuple(_claims(plan, requirement))
    return None if None in found else tuple(c for c in found if c is not None)


def sorted_ranks(plan: Plan) -> frozenset[tuple[str, int, bool]]:
    """The inputs of integers that are sorted along a rank, and whether they descend."""
    kinds = loaded_types(plan)
    found = [c for r in plan.requires for c in _claims(plan, r) if c is not None]
    whole = (Kind.I32, Kind.I64)
    return frozenset((c.tensor, c.rank, c.down) for c in found if kinds[c.tensor].kind in whole)


def _claims(plan: Plan, requirement: Expr) -> Iterator[Claim | None]:
    """What each part of a requirement claims; None for one that is no claim."""
    sizes, variables = tensor_sizes(plan), dict(plan.variables)
    for condition in conjuncts(requirement):
        for part in _compared(condition):
            if part is None:
                yield None
                continue
            over, op, left, right = part
            yield _claim(op, left, right, sizes, {v: variables[v] for v in over})


Compared = tuple[tuple[str, ...], CompareOp, Expr, Expr]


def _compared(condition: Expr) -> Iterator[Compared | None]:
    """The comparisons that hold for all coordinates of some variables; None for what is none."""
    match condition:
        case Reduce(op="all", variables=variables, body=body):
            for part in conjuncts(body):
                if isinstance(part, Compare):
                    yield from ((variables, *pair) for pair in pairs(part))
                else:
                    yield None
        case Unary(
            op="not",
            operand=Reduce(
                op="any", variables=variables, body=Compare(ops=(op,), operands=(left, right))
            ),
        ):
            yield variables, TURNED[op], left, right
        case _:
            yield None


def _claim(
    op: CompareOp,
    left: Expr,
    right: Expr,
    tensors: Mapping[str, tuple[Expr, ...]],
    variables: Mapping[str, Expr],
) -> Claim | None:
    """That a tensor is compared with its next element along one rank, wherever there is one."""
    match left, right:
        case Read(tensor=tensor, index=first), Read(tensor=other, index=second) if tensor == other:
            pass
        case _:
            return None
    sizes = tensors[tensor]
    apart = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if len(apart) != 1 or op not in ("<", "<=", ">", ">="):
        return None
    (rank,) = apart
    one, two = _shifted(first[rank]), _shifted(second[rank])
    if one is None or two is None or one[0] != two[0] or abs(one[1] - two[1]) != 1:
        return None
    begin = min(one[1], two[1])
    others = [(e, s) for i, (e, s) in enumerate(zip(first, sizes, strict=True)) if i != rank]
    if not _each(others, variables, one[0]):
        return None
    if not _covers(variables.get(one[0]), begin, sizes[rank]):
        return None
    rises = (op in ("<", "<=")) == (one[1] < two[1])
    return Claim(tensor, rank, not rises, op in ("<", ">"))


def _each(index: Sequence[tuple[Expr, Expr]], variables: Mapping[str, Expr], without: str) -> bool:
    """Whether indices are different variables that go through all of the ranks' sizes."""
    names = [e.name for e, size in index if isinstance(e, Var) and variables.get(e.name) == size]
    return len({*names, without}) == len(index) + 1


def _covers(size: Expr | None, begin: int, whole: Expr) -> bool:
    """Whether pairs from `begin` on, as many as a variable's extent, are all that there are."""
    if size is None or begin > 0:
        return False
    a, b = _sum(size), _sum(whole)
    if a is None or b is None:
        return size == whole and begin == 0
    missing = less(b, a)  # the last pair begins at the last element but one
    return missing.keys() <= {ONE} and missing.get(ONE, 0) <= 1 + begin


def _sum(expr: Expr) -> Sum | None:
    """A size as a sum of values and a number."""
    match expr:
        case Int(value=value):
            return number(value)
        case Value(name=name):
            return {(name,): 1}
        case Binary(op="+" | "-" as op, left=left, right=right):
            a, b = _sum(left), _sum(right)
            if a is None or b is None:
                return None
            return plus(a, b) if op == "+" else less(a, b)
        case _:
            return None


def _shifted(expr: Expr) -> tuple[str, int] | None:
    """A variable, and the number that is added to it."""
    match expr:
        case Var(name=name):
            return name, 0
        case Binary(op="+", left=Var(name=name), right=Int(value=value)):
            return name, value
        case Binary(op="+", left=Int(value=value), right=Var(name=name)):
            return name, value
        case Binary(op="-", left=Var(name=name), right=Int(value=value)):
            return name, -value
        case _:
            return None
