"""What is computed twice is computed once, and what nothing reads is not computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.ir.cascade import Einsum, Statement
from attnc.ir.expr import Apply, Arg, Binary, Expr, Int, Read, Reduce, Scan, TopK
from attnc.ir.facts import Facts
from attnc.ir.stages import tensor_reads
from attnc.ir.walk import children, in_order, rebuild
from attnc.passes.algebra.numbering import Numbering
from attnc.passes.algebra.program import (
    Names,
    Remark,
    Tell,
    definition,
    ignore,
    point,
    rewritten,
    singles,
    stem,
)

CHEAP: Final = frozenset(
    "abs sign relu floor ceil round max min clip ceildiv default only present detach bool "
    "f16 bf16 f32 f64 i32 i64".split()
)
"""Functions that are computed again rather than kept in a tensor."""

LABELS: Final = {"+": "sum", "-": "difference", "*": "product", "/": "quotient", "**": "power"}
"""What a tensor is called after that holds the value of an operator."""


@dataclass(frozen=True)
class Cse:
    """Equal Einsums become one, then equal subexpressions, then Einsums that nothing needs go.

    Two Einsums are equal if their left sides range over the same sizes, position by position, and
    their values and conditions are equal up to the names of variables. An output keeps its
    definition, which then reads the other tensor.

    An expression that several others hold becomes a tensor if it reads a tensor and is costly: a
    reduction, a quotient of tensors, a function that takes more than a few instructions, or made of
    one that has all of its variables, so that the tensor is no larger than what it saves. Its free
    variables may have other names elsewhere. The tensor has no conditions, so its points are
    present where the expression was. A value that a tensor has already is read from there.
    Expressions within indices and conditions are left.

    Recurrence groups are left as they are, as long as something needs them.
    """

    name: str = field(default="cse", init=False)

    def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
        merged = _Merge(facts, tell).run()
        shared = _Share(facts, merged, tell).run()
        return rewritten(facts, _needed(facts, shared))


class _Merge:
    """Equal Einsums become one."""

    def __init__(self, facts: Facts, tell: Tell) -> None:
        self.facts = facts
        self.tell = tell
        self.alone = singles(facts)
        self.numbers = Numbering(facts.variables)
        self.outputs = {o.name for o in facts.cascade.outputs}
        self.same: dict[str, str] = {}
        """A tensor that was dropped, and the one that takes its place."""
        self.first: dict[tuple[object, ...], Einsum] = {}

    def run(self) -> list[Statement]:
        """The statements that are left."""
        found: list[Statement] = []
        for statement in self.facts.cascade.statements:
            if not isinstance(statement, Einsum):
                found.append(statement)
                continue
            einsum = self._renamed(statement)
            if einsum.tensor not in self.alone:
                found.append(einsum)
                continue
            first = self.first.setdefault(self._key(einsum), einsum)
            if first is einsum:
                found.append(einsum)
                continue
            if einsum.tensor not in self.outputs:
                self.same[einsum.tensor] = first.tensor
            elif not isinstance(einsum.value, Read):
                read = point(first.tensor, einsum.variables, einsum.value.span)
                found.append(replace(einsum, value=read, where=()))
            else:
                found.append(einsum)
                continue
            text = f"has the value of {first.tensor}"
            self.tell(Remark("cse", einsum.tensor, text, einsum.span))
        return found

    def _key(self, einsum: Einsum) -> tuple[object, ...]:
        left = {v: f"left {i}" for i, v in enumerate(einsum.variables)}
        ranges = tuple(self.numbers(self.facts.variables[v]) for v in left)
        where = frozenset(self.numbers(c, left) for c in einsum.where)
        return ranges, self.numbers(einsum.value, left), where

    def _renamed(self, einsum: Einsum) -> Einsum:
        if not self.same:
            return einsum
        where = tuple(self._read_first(c) for c in einsum.where)
        return replace(einsum, value=self._read_first(einsum.value), where=where)

    def _read_first(self, expr: Expr) -> Expr:
        inner = rebuild(expr, tuple(self._read_first(c) for c in children(expr)))
        if isinstance(inner, Read) and inner.tensor in self.same:
            return replace(inner, tensor=self.same[inner.tensor])
        return inner


@dataclass(frozen=True)
class _Shared:
    """A tensor that holds the value of an expression, up to the names of its free variables.

    The rank at position i of the tensor is the expression's variable number `order[i]`.
    """

    tensor: str
    order: tuple[int, ...]

    def read(self, variables: tuple[str, ...]) -> Read:
        """The read where the expression's variables are these."""
        return point(self.tensor, (variables[i] for i in self.order))


class _Share:
    """Equal costly subexpressions become tensors."""

    def __init__(self, facts: Facts, statements: list[Statement], tell: Tell) -> None:
        self.facts = facts
        self.tell = tell
        self.statements = statements
        self.alone = singles(facts)
        self.numbers = Numbering(facts.variables)
        self.names = Names(facts.cascade)
        self.work: dict[int, tuple[bool, bool]] = {}
        self.uses: Counter[tuple[int, ...]] = Counter()
        self.tensors: dict[tuple[int, ...], _Shared] = {}
        """Values that tensors defined so far hold."""
        self._keys: dict[int, tuple[Expr, tuple[int, ...]]] = {}
        self.made: list[Einsum] = []

    def run(self) -> list[Statement]:
        """The statements with what they share before its first use."""
        self._count()
        found: list[Statement] = []
        for statement in self.statements:
            if isinstance(statement, Einsum) and statement.tensor in self.alone:
                value = statement.value
                known = self._known(value)
                found.append(replace(statement, value=known or self._inside(value, statement)))
                found[-1:-1] = self.made
                self.made.clear()
                if known is None and self._is_kept(statement):
                    self._keep(value, statement.tensor, statement.variables)
            else:
                found.append(statement)
        return found

    def _variables(self, expr: Expr) -> tuple[str, ...]:
        """The free variables of an expression in the order of their first occurrence."""
        free = self.numbers.free(expr)
        return tuple(v for v in in_order(expr) if v in free)

    def _key(self, expr: Expr) -> tuple[int, ...]:
        """What tells an expression from others, whatever its variables are called."""
        known = self._keys.get(id(expr))
        if known is None:
            variables = self._variables(expr)
            ranges = (self.numbers(self.facts.variables[v]) for v in variables)
            places = {v: f"free {i}" for i, v in enumerate(variables)}
            known = self._keys[id(expr)] = expr, (self.numbers(expr, places), *ranges)
        return known[1]

    def _known(self, expr: Expr) -> Read | None:
        """The read of the tensor that holds an expression's value."""
        shared = self.tensors.get(self._key(expr)) if self._costly(expr) else None
        return None if shared is None else shared.read(self._variables(expr))

    def _keep(self, expr: Expr, tensor: str, left: tuple[str, ...]) -> None:
        """Notes that a tensor holds an expression's value."""
        variables = self._variables(expr)
        order = tuple(variables.index(v) for v in left)
        self.tensors[self._key(expr)] = _Shared(tensor, order)

    def _is_kept(self, einsum: Einsum) -> bool:
        """Whether a tensor holds its value wherever that is read: no condition, no more ranks."""
        free = self.numbers.free(einsum.value)
        whole = free == frozenset(einsum.variables)
        return whole and not einsum.where and self._costly(einsum.value)

    def _count(self) -> None:
        """How often each expression has to be computed if those it is part of are shared."""
        for statement in self.statements:
            stack: list[Expr] = []
            if isinstance(statement, Einsum) and statement.tensor in self.alone:
                stack.append(statement.value)
            while stack:
                node = stack.pop()
                if self._costly(node):
                    key = self._key(node)
                    self.uses[key] += 1
                    if self.uses[key] > 1:
                        continue
                stack += _operands(node)

    def _inside(self, expr: Expr, user: Einsum) -> Expr:
        operands = _operands(expr)
        rest = children(expr)[len(operands) :]
        return rebuild(expr, (*(self._shared(o, user) for o in operands), *rest))

    def _shared(self, expr: Expr, user: Einsum) -> Expr:
        known = self._known(expr)
        if known is not None:
            return known
        value = self._inside(expr, user)
        if not self._costly(expr) or self.uses[self._key(expr)] < 2:
            return value
        free = self.numbers.free(expr)
        left = tuple(v for v in dict.fromkeys((*user.variables, *in_order(expr))) if v in free)
        name = self.names(f"{stem(user)}_{_label(expr)}")
        self.made.append(definition(name, left, value, user))
        self.tell(Remark("cse", name, f"is computed once, first for {user.tensor}", expr.span))
        self._keep(expr, name, left)
        return point(name, left)

    def _costly(self, expr: Expr) -> bool:
        """Whether an expression is worth a tensor."""
        return all(self._work(expr))

    def _work(self, expr: Expr) -> tuple[bool, bool]:
        """Whether an expression reads a tensor, and whether it is costly at each of its points."""
        number = self.numbers(expr)
        found = self.work.get(number)
        if found is None:
            free = self.numbers.free
            inner = [(o, *self._work(o)) for o in _operands(expr)]
            reads = isinstance(expr, Read) or any(r for _, r, _ in inner)
            costly = any(c and free(o) == free(expr) for o, _, c in inner)
            found = self.work[number] = reads, costly or _is_costly(expr)
        return found


def _operands(expr: Expr) -> tuple[Expr, ...]:
    """The first operands, those that are values: not the indices, nor the condition of `only`."""
    match expr:
        case Read():
            return ()
        case Apply(function="only", arguments=(value, _)):
            return (value,)
        case _:
            return children(expr)


def _nodes(expr: Expr) -> Iterator[Expr]:
    """The nodes of an expression without its indices and conditions."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack += _operands(node)


def _is_costly(node: Expr) -> bool:
    match node:
        case Reduce() | Scan() | Arg() | TopK():
            return True
        case Binary(op="/", right=divisor):
            return any(isinstance(n, Read) for n in _nodes(divisor))
        case Binary(op="**", right=exponent):
            return not isinstance(exponent, Int)
        case Apply(function=function):
            return function not in CHEAP
        case _:
            return False


def _label(expr: Expr) -> str:
    match expr:
        case Apply(function=name) | Reduce(op=name) | Scan(op=name) | Arg(op=name):
            return name
        case Binary(op=op):
            return LABELS.get(op, "value")
        case TopK():
            return "argtopk"
        case _:
            return "value"


def _needed(facts: Facts, statements: list[Statement]) -> Iterator[Statement]:
    """The statements without Einsums that no output needs."""
    reads: dict[str, set[str]] = {}
    for statement in statements:
        if isinstance(statement, Einsum):
            found = reads.setdefault(statement.tensor, set())
            found.update(r.tensor for r in tensor_reads(statement))
    needed: set[str] = set()
    waiting = [o.name for o in facts.cascade.outputs]
    while waiting:
        tensor = waiting.pop()
        if tensor not in needed:
            needed.add(tensor)
            waiting += reads.get(tensor, ())
    for statement in statements:
        if not isinstance(statement, Einsum) or statement.tensor in needed:
            yield statement
