"""Walks over expressions: children, rebuilding, free variables, substitution.

Depth is bounded when a spec is parsed and expanded (`MAX_DEPTH`), so plain recursion is safe here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final

from attnc.ir.expr import (
    Absent,
    Apply,
    Arg,
    Binary,
    Bool,
    Call,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
    Read,
    Reduce,
    Scan,
    TopK,
    Unary,
    Value,
    Var,
)


def children(expr: Expr) -> tuple[Expr, ...]:
    """The direct operands of a node, in the order they are written."""
    return OPERANDS[type(expr)](expr)


def _of_call(call: Call) -> tuple[Expr, ...]:
    inner = [i for b in call.brackets or () for i in (b.key, b.value) if i is not None]
    return (*inner, *call.arguments)


_NONE: Final = attrgetter("nothing")
OPERANDS: Final[Mapping[type[Expr], Callable[[Any], tuple[Expr, ...]]]] = {
    **dict.fromkeys((Int, Float, Bool, Absent, Name, Value, Var), _NONE),
    Read: attrgetter("index"),
    Unary: lambda e: (e.operand,),
    **dict.fromkeys((Binary, Logical), attrgetter("left", "right")),
    Compare: attrgetter("operands"),
    Choice: attrgetter("then", "condition", "other"),
    Apply: attrgetter("arguments"),
    **dict.fromkeys((Reduce, Scan, Arg, TopK), lambda e: (e.body,)),
    Call: _of_call,
}
"""How `children` finds them for each kind of node; a table, as no function is called more."""


def rebuild(expr: Expr, new: tuple[Expr, ...]) -> Expr:
    """`expr` with its direct operands replaced; the same object where nothing changed."""
    for before, after in zip(children(expr), new, strict=True):
        if before is not after:
            break
    else:
        return expr
    span = expr.span
    match expr:
        case Read(tensor=tensor):
            return Read(tensor, new, span)
        case Unary(op=op):
            return Unary(op, new[0], span)
        case Binary(op=op):
            return Binary(op, new[0], new[1], span)
        case Logical(op=word):
            return Logical(word, new[0], new[1], span)
        case Compare(ops=ops):
            return Compare(ops, new, span)
        case Choice():
            return Choice(new[1], new[0], new[2], span)
        case Apply(function=function):
            return Apply(function, new, span)
        case Reduce() | Scan() | Arg() | TopK():
            return replace(expr, body=new[0])
        case _:
            raise TypeError(f"{type(expr).__name__} has no operands to replace")


def subexpressions(expr: Expr) -> Iterator[Expr]:
    """Every node of the tree, operands before the node that uses them."""
    found = []
    stack = [expr]
    while stack:  # finds them in the opposite order
        node = stack.pop()
        found.append(node)
        operands = OPERANDS[type(node)]
        if operands is not _NONE:
            stack += operands(node)
    return reversed(found)


def outside(expr: Expr, variable: str) -> Iterator[Expr]:
    """The nodes of an expression in which `variable` is not bound by one above them."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        if variable not in bound(node):
            stack.extend(children(node))


def bound(expr: Expr) -> frozenset[str]:
    """The variables that this node binds in its body."""
    match expr:
        case Reduce(variables=variables):
            return frozenset(variables)
        case Arg(variable=variable) | TopK(variable=variable):
            return frozenset((variable,))
        case _:
            return frozenset()


def own_variables(expr: Expr) -> frozenset[str]:
    """The variables that this node itself mentions freely, apart from its operands."""
    match expr:
        case Var(name=name):
            return frozenset((name,))
        case Scan(variable=variable):
            return frozenset((variable,))
        case TopK(into=into):
            return frozenset((into,))
        case _:
            return frozenset()


class FreeVariables:
    """Free rank variables of nodes, remembered by object for the life of this table."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Expr, frozenset[str]]] = {}

    def __call__(self, expr: Expr) -> frozenset[str]:
        """The rank variables that occur free in `expr`."""
        known = self._known.get(id(expr))
        if known is not None:
            return known[1]
        for node in subexpressions(expr):
            if id(node) not in self._known:
                inner = [self._known[id(child)][1] for child in children(node)]
                found = frozenset().union(*inner) - bound(node) | own_variables(node)
                self._known[id(node)] = (node, found)
        return self._known[id(expr)][1]


def free_variables(expr: Expr) -> frozenset[str]:
    """The rank variables that occur free in `expr`."""
    return FreeVariables()(expr)


def in_order(expr: Expr) -> tuple[str, ...]:
    """Every rank variable of `expr`, free or bound, in the order of first occurrence."""
    seen: dict[str, None] = {}
    for node in subexpressions(expr):
        match node:
            case Var(name=name) | Scan(variable=name) | Arg(variable=name):
                seen.setdefault(name)
            case Reduce(variables=names):
                seen |= dict.fromkeys(names)
            case TopK(into=into, variable=name):
                seen |= dict.fromkeys((into, name))
            case _:
                pass
    return tuple(seen)


def rename_bound(expr: Expr, names: Mapping[str, str]) -> Expr:
    """`expr` with the variables that this one node binds called by other names."""
    match expr:
        case Reduce(variables=variables):
            return replace(expr, variables=tuple(names.get(v, v) for v in variables))
        case Arg(variable=variable) | TopK(variable=variable):
            return replace(expr, variable=names.get(variable, variable))
        case _:
            return expr


def kept_variable(expr: Expr) -> str | None:
    """The variable that a node combines over or fills, and keeps: of a scan and of `argtopk`."""
    match expr:
        case Scan(variable=variable):
            return variable
        case TopK(into=into):
            return into
        case _:
            return None


def unreachable(expr: Expr, new: Mapping[str, Expr]) -> str | None:
    """A variable kept by a scan or `argtopk` in `expr` that a substitution would have to touch.

    Such a node has one name for what it runs over and for where it is read, so that neither can
    its variable become an index, nor an index with that variable be brought inside of it.
    """
    free = FreeVariables()

    def walk(node: Expr, active: Mapping[str, Expr], hidden: frozenset[str]) -> str | None:
        active = {v: e for v, e in active.items() if v in free(node)}
        if not active:
            return None
        hidden |= bound(node)  # what is bound here is renamed where it clashes
        kept = kept_variable(node)
        brought = frozenset().union(*(free(e) for e in active.values())) - hidden
        if kept is not None and (kept in active or kept in brought):
            return kept
        inner = {v: e for v, e in active.items() if v not in bound(node)}
        found = (walk(child, inner, hidden) for child in children(node))
        return next((name for name in found if name is not None), None)

    return walk(expr, new, frozenset())


def substitute(expr: Expr, new: Mapping[str, Expr], fresh: Callable[[str], str]) -> Expr:
    """`expr` with free variables replaced, without capture.

    A binder whose variable occurs in a replacement is renamed to `fresh(variable)`, which must
    be a new variable over the same range. What is `unreachable` the caller refuses before.
    """
    free = FreeVariables()
    brought = frozenset().union(*(free(e) for e in new.values())) if new else frozenset()

    def walk(node: Expr, active: Mapping[str, Expr]) -> Expr:
        active = {v: e for v, e in active.items() if v in free(node)}
        if not active:
            return node
        if isinstance(node, Var):
            return active[node.name]
        node = _rename_kept(node, active)
        clash = sorted(bound(node) & brought)
        if clash:
            names = {v: fresh(v) for v in clash}
            inner = substitute(node_body(node), {v: Var(n) for v, n in names.items()}, fresh)
            node = rename_bound(rebuild(node, (inner,)), names)
            return substitute(node, active, fresh)
        return rebuild(node, tuple(walk(child, active) for child in children(node)))

    return walk(expr, new)


def _rename_kept(expr: Expr, active: Mapping[str, Expr]) -> Expr:
    """A scan or `argtopk` whose kept variable was renamed."""
    new = active.get(kept_variable(expr) or "")
    match expr, new:
        case Scan(), Var(name=name):
            return replace(expr, variable=name)
        case TopK(), Var(name=name):
            return replace(expr, into=name)
        case _:
            return expr


def node_body(expr: Expr) -> Expr:
    """The body of a node that binds variables."""
    (body,) = children(expr)
    return body
