"""The order in which sums of products are computed: `(Q K) V` or `Q (K V)`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from attnc.ir import printer
from attnc.ir.cascade import Einsum, Statement, Variables
from attnc.ir.expr import Apply, Arg, Expr, Read, Reduce, Scan, TopK, Var
from attnc.ir.facts import Facts
from attnc.ir.stages import tensor_reads
from attnc.ir.types import Origin, Type
from attnc.ir.typing import Types
from attnc.ir.walk import FreeVariables, in_order, subexpressions, substitute
from attnc.passes.algebra.contraction import (
    Factor,
    Node,
    Part,
    Search,
    factors,
    is_product,
    product,
    together,
)
from attnc.passes.algebra.magnitude import Magnitude
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
from attnc.passes.algebra.sizes import Nominal, Work, common_factor, monomial

MAX_FACTORS: Final = 8
"""Most factors of which all orders are compared."""

MAX_VARIABLES: Final = 40
"""Most variables of a sum; the language has a limit."""

CLEARLY: Final = 0.8
"""Where sizes decide, another order is taken if it costs no more than this part of the written."""


@dataclass(frozen=True)
class Order:
    """Nested sums of products are computed in the order that costs least.

    A sum whose readers only multiply it, and sum the products, is dissolved into them where the
    cheapest order of all factors together costs less. In between may stand maps that are products
    too. A function of the sum, a choice by it, another reduction of it, a recurrence or an output
    keep it as it is. Conditions are factors: one that links ranks which the new order would keep
    apart makes that order impossible. So a prefix condition `n <= m` keeps `(Q K) V`.

    Why every order is equal, with absence: see `contraction.Search`. Only sums of one floating type
    are reordered, so that no type changes; integers are left. Each factor is computed as before.
    Two exponentials of any size are not parted (`magnitude`): only their product may be moderate.

    Reductions inside of expressions are for `separate`; what holds one is left.

    The cost is the number of scalar products. One order is taken for all sizes if it is never worse
    (`sizes.Work.never_above`); else if it is clearly cheaper at the sizes that are given, or at
    nominal ones (`sizes.Nominal`). A remark says which it was.
    """

    sizes: tuple[tuple[str, int], ...] = ()
    name: str = field(default="order", init=False)

    def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
        return _Ordering(facts, dict(self.sizes), tell).run()


class _Kept(Exception):
    """A sum is not dissolved; the text says why, where there is something to say."""


@dataclass(frozen=True)
class _Group:
    """Sums and maps that may be dissolved, and the sums that read them."""

    members: frozenset[str]
    roots: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    """New trees for the roots of a group."""

    group: _Group
    trees: tuple[tuple[str, Search, Node], ...]
    written: Work
    work: Work


class _Ordering:
    def __init__(self, facts: Facts, given: dict[str, int], tell: Tell) -> None:
        self.facts = facts
        self.tell = tell
        self.nominal = Nominal(facts, given)
        self.ranges = dict(facts.variables)
        self.free = FreeVariables()
        self.names = Names(facts.cascade)
        self.alone = singles(facts)
        self.outputs = {o.name for o in facts.cascade.outputs}
        self.tensors: dict[str, Type | None] = dict(facts.types)
        self.types = Types(facts.values, self.tensors)
        self.einsums = {e.tensor: e for e in facts.cascade.einsums if e.tensor in self.alone}
        self.readers: dict[str, set[str]] = {}
        for einsum in facts.cascade.einsums:
            self._note(einsum)
        self.before: dict[str, list[str]] = {}
        """The tensors that were made for the Einsum of another."""
        self._products: dict[tuple[frozenset[Expr], frozenset[str]], set[str]] | None = None
        """The sums that Einsums are, by their factors and the variables that are left."""

    def run(self) -> Facts:
        """Each sum once, those that are read last first."""
        for tensor in reversed([e.tensor for e in self.facts.cascade.einsums]):
            if tensor in self.einsums and self._sum(tensor) is not None:
                self._try(tensor)
        statements: list[Statement] = []
        for statement in self.facts.cascade.statements:
            if not isinstance(statement, Einsum) or statement.tensor not in self.alone:
                statements.append(statement)
            else:
                statements += self._with_parts(statement.tensor)
        return rewritten(self.facts, self._declared(statements))

    def _with_parts(self, tensor: str) -> Iterator[Einsum]:
        """What is left of an Einsum, after the parts of it that became tensors."""
        for part in self.before.get(tensor, ()):
            yield from self._with_parts(part)
        if tensor in self.einsums:
            yield self.einsums[tensor]

    def _declared(self, statements: Iterable[Statement]) -> Iterator[Statement]:
        """The statements with new variables declared before their first use."""
        known = set(self.facts.variables)
        for statement in statements:
            if isinstance(statement, Einsum):
                used = {
                    *statement.variables,
                    *(v for p in _expressions(statement) for v in in_order(p)),
                }
                for name in sorted(used - known):
                    known.add(name)
                    yield Variables((name,), self.ranges[name], statement.span)
            yield statement

    def _note(self, einsum: Einsum) -> None:
        for read in tensor_reads(einsum):
            self.readers.setdefault(read.tensor, set()).add(einsum.tensor)

    # What there is to reorder

    def _sum(self, tensor: str) -> Reduce | None:
        """The sum that an Einsum is, if all that is summed over is in the product's numbers."""
        einsum = self.einsums.get(tensor)
        if einsum is None or einsum.where:
            return None
        value = einsum.value
        if not isinstance(value, Reduce) or value.op != "sum" or _reduction(value.body) is not None:
            return None
        numbers = (f.variables for f in factors(value.body, self.free) if not f.condition)
        return value if frozenset[str]().union(*numbers) >= {*value.variables} else None

    def _try(self, tensor: str) -> None:
        """Dissolves a sum into its readers, or reorders it by itself, where that costs less."""
        groups = [_Group(frozenset(), (tensor,))]
        try:
            group = self._group(tensor)
            groups += [self._widened(group), group]
        except _Kept as reason:
            if str(reason):
                self._say(tensor, f"is computed as written: {reason}")
        plans = [p for g in groups if (p := self._plan(g)) is not None]
        if any(self._balances(p) for p in plans):
            plans = [p for p in plans if not self._balances(p)]
            self._say(tensor, "is computed as written: exponentials on both sides may balance")
        gains = [(p, how) for p in plans if (how := self._gain(p)) is not None]
        if not gains:
            self._say_conditions(tensor, plans)
            return

        def saved(item: tuple[_Plan, str]) -> int:
            return self.nominal.number(item[0].written) - self.nominal.number(item[0].work)

        plan, how = max(gains, key=saved)
        self._products = None  # Einsums change
        common, (new, old) = common_factor(plan.work, plan.written)
        each = f" for each {common}" if common else ""
        text = f"is computed in another order: {new} products for {old}{each}, {how}"
        self._say(plan.group.roots[0], text)
        self._apply(plan)

    def _balances(self, plan: _Plan) -> bool:
        """Whether a better plan would part factors that may be of any size."""
        if self._gain(plan) is None:
            return False
        magnitude = Magnitude(self.einsums, self.ranges)
        return any(
            sum(magnitude.unbounded(f.expr) for f in search.factors if not f.condition) > 1
            for _, search, _ in plan.trees
        )

    def _say(self, tensor: str, text: str) -> None:
        einsum = self.einsums[tensor]
        self.tell(Remark("order", tensor, text, einsum.span))

    def _say_conditions(self, tensor: str, plans: list[_Plan]) -> None:
        """Tells of a condition without which another order would be taken."""
        for plan in plans:
            conditions = [f for _, s, _ in plan.trees for f in s.factors if f.condition]
            free = self._plan(plan.group, without_conditions=True) if conditions else None
            if free is not None and self._gain(free) is not None:
                text = ", ".join(dict.fromkeys(printer.expression(c.expr) for c in conditions))
                self._say(tensor, f"is computed as written: the condition {text} stands in between")
                return

    def _group(self, tensor: str) -> _Group:
        """What reads a sum, through maps that are products; raises `_Kept`."""
        members, roots, waiting = {tensor}, dict[str, None](), [tensor]
        while waiting:
            member = waiting.pop()
            if member in self.outputs:
                raise _Kept
            for reader in sorted(self.readers.get(member, ())):
                self._multiplies(reader, member)
                if self._sum(reader) is not None:
                    roots.setdefault(reader)
                elif reader not in members:
                    members.add(reader)
                    waiting.append(reader)
        if not roots:
            raise _Kept
        return _Group(frozenset(members), tuple(roots))

    def _multiplies(self, reader: str, tensor: str) -> None:
        """Raises `_Kept` unless an Einsum only multiplies a tensor."""
        if reader not in self.einsums:
            raise _Kept(f"the recurrence of {reader} reads it")
        einsum = self.einsums[reader]
        reads = [r for r in tensor_reads(einsum) if r.tensor == tensor]
        plain = [
            f.expr
            for f in self._factors(einsum)
            if isinstance(f.expr, Read) and f.expr.tensor == tensor and not f.divides
        ]
        inner = self._sum(reader)
        body = einsum.value if inner is None else inner.body
        op = _reduction(body)
        if op is not None:
            raise _Kept(f"{reader} takes {op} in between")
        if len(reads) != 1 or len(plain) != 1:
            raise _Kept(self._function(reader, body, tensor))
        read = plain[0]
        places = zip(read.index, self.einsums[tensor].variables, strict=True)
        same = all(isinstance(i, Var) and self.ranges[i.name] == self.ranges[v] for i, v in places)
        if not same or len({*read.index}) < len(read.index):
            raise _Kept(f"{reader} reads it at other indices")

    def _function(self, reader: str, body: Expr, tensor: str) -> str:
        """The innermost function of a tensor that an Einsum takes, in words; none if it divides."""
        for node in subexpressions(body):
            if isinstance(node, Apply) and node.function != "only":
                inner = (n for n in subexpressions(node) if isinstance(n, Read))
                if any(n.tensor == tensor for n in inner):
                    return f"{reader} takes {node.function} of it"
        return ""

    def _widened(self, group: _Group) -> _Group:
        """The group with all the sums and products above it that nothing else reads."""
        members, count = set(group.members), 0
        waiting = [*group.roots, *sorted(group.members)]
        while waiting:
            for factor in self._factors(self.einsums[waiting.pop()]):
                read = factor.expr
                if factor.divides or not isinstance(read, Read):
                    continue
                name, inside = read.tensor, members | {*group.roots}
                if name in inside | self.outputs or name not in self.einsums:
                    continue
                if not self.readers[name] <= inside or not self._is_product(name):
                    continue
                try:
                    for reader in self.readers[name]:
                        self._multiplies(reader, name)
                except _Kept:
                    continue
                count += 1
                if count < MAX_FACTORS:
                    members.add(name)
                    waiting.append(name)
        return _Group(frozenset(members), group.roots)

    def _is_product(self, tensor: str) -> bool:
        """Whether a tensor is a sum, or a product of several."""
        if self._sum(tensor) is not None:
            return True
        einsum = self.einsums[tensor]
        return _reduction(einsum.value) is None and len(self._factors(einsum)) > 1

    def _factors(self, einsum: Einsum) -> list[Factor]:
        """The factors of a sum or a map, those of its conditions included."""
        inner = self._sum(einsum.tensor)
        found = factors(einsum.value if inner is None else inner.body, self.free)
        return found + [Factor(c, self.free(c), condition=True) for c in einsum.where]

    # Plans

    def _plan(self, group: _Group, without_conditions: bool = False) -> _Plan | None:
        """The cheapest trees for a group; None if there are none."""
        written = Work(())
        for tensor in (*sorted(group.members), *group.roots):
            written += self._written(self.einsums[tensor])
        trees: list[tuple[str, Search, Node]] = []
        work = Work(())
        for root in group.roots:
            found = self._expanded(self.einsums[root], group.members)
            if without_conditions:
                found = [f for f in found if not f.condition]
            variables = frozenset[str]().union(*(f.variables for f in found))
            if not 2 <= len(found) <= MAX_FACTORS or len(variables) > MAX_VARIABLES:
                return None
            if not self._one_type(root, found):
                return None
            results = frozenset(self.einsums[root].variables)
            without = {*group.members, *group.roots}
            search = Search(
                found,
                results,
                self.ranges,
                self.nominal.number,
                partial(self._exists, without),
            )
            best = search.best()
            assert best.variables <= results, "a variable that only conditions have"
            trees.append((root, search, best))
            work += best.work
        return _Plan(group, tuple(trees), written, work)

    def _exists(self, without: set[str], parts: frozenset[Expr], variables: frozenset[str]) -> bool:
        """Whether an Einsum is a sum of these products; common subexpressions are shared later."""
        if self._products is None:
            self._products = {}
            for tensor, einsum in self.einsums.items():
                if (value := self._sum(tensor)) is not None:
                    found = factors(value.body, self.free)
                    key = frozenset(f.expr for f in found), frozenset(einsum.variables)
                    if not any(f.divides or f.condition for f in found):
                        self._products.setdefault(key, set()).add(tensor)
        return bool(self._products.get((parts, variables), set()) - without)

    def _one_type(self, root: str, found: list[Factor]) -> bool:
        """Whether all factors from tensors are of the floating type of the result."""
        whole = self.tensors[root]
        assert whole is not None
        numbers = [self.types(f.expr) for f in found if not f.condition]
        return whole.kind.floating and all(
            t.kind is whole.kind for t in numbers if t.origin is Origin.TENSOR
        )

    def _written(self, einsum: Einsum) -> Work:
        """The work of an Einsum as it stands: each product once for each point of its variables."""
        inner = self._sum(einsum.tensor)
        body = einsum.value if inner is None else inner.body
        products = [body for body in subexpressions(body) if is_product(body)]
        if not products and inner is not None:
            products = [body]
        return Work(tuple(monomial(self.ranges[v] for v in self.free(p)) for p in products))

    def _gain(self, plan: _Plan) -> str | None:
        """Why a plan is better than what is written; None if it is not."""
        new, old = self.nominal.number(plan.work), self.nominal.number(plan.written)
        if plan.work.never_above(plan.written):
            return "never more whatever the sizes" if new < old else None
        if new > CLEARLY * old:
            return None
        _, works = common_factor(plan.work, plan.written)
        terms = (term for work in works for term in work.terms)
        names = sorted({s for term in terms for s in term}, key=printer.expression)
        sizes = ", ".join(f"{printer.expression(s)} = {self.nominal.size(s)}" for s in names)
        return f"fewer at {sizes}"

    def _expanded(self, einsum: Einsum, members: frozenset[str]) -> list[Factor]:
        """The factors of an Einsum with those of the members it reads in their place."""
        taken = set(einsum.variables).union(*(self.free(p) for p in _expressions(einsum)))
        inner = self._sum(einsum.tensor)
        taken |= {*inner.variables} if inner is not None else set()

        def expand(found: list[Factor]) -> Iterator[Factor]:
            for factor in found:
                read = factor.expr
                if not isinstance(read, Read) or read.tensor not in members:
                    yield factor
                    continue
                member = self.einsums[read.tensor]
                index = dict(zip(member.variables, read.index, strict=True))
                summed = self._sum(read.tensor)
                for variable in summed.variables if summed is not None else ():
                    index[variable] = Var(self._unused(variable, taken))
                yield from expand([self._at(f, index) for f in self._factors(member)])

        return list(expand(self._factors(einsum)))

    def _at(self, factor: Factor, index: dict[str, Expr]) -> Factor:
        expr = substitute(factor.expr, index, self._fresh)
        return replace(factor, expr=expr, variables=self.free(expr))

    def _unused(self, variable: str, taken: set[str]) -> str:
        """A variable of the same range that is not among those taken; now it is."""
        range_ = self.ranges[variable]
        same = [variable, *(v for v, r in self.ranges.items() if r == range_)]
        name = next((v for v in same if v not in taken), None) or self._fresh(variable)
        taken.add(name)
        return name

    def _fresh(self, variable: str) -> str:
        """A new variable of the same range."""
        name = self.names(variable)
        self.ranges[name] = self.ranges[variable]
        return name

    # Doing it

    def _apply(self, plan: _Plan) -> None:
        """Replaces the roots of a plan, and drops what it dissolved."""
        for tensor in sorted(plan.group.members):
            self._forget(self.einsums.pop(tensor))
        for root, search, tree in plan.trees:
            einsum = self.einsums[root]
            self._forget(einsum)
            value = product(self._parts(tree, search, einsum))
            summed = self._in_order(tree.inner - tree.variables)
            if summed:
                value = Reduce("sum", summed, value, einsum.value.span)
            new = self.einsums[root] = replace(einsum, value=value)
            self._note(new)

    def _forget(self, einsum: Einsum) -> None:
        for read in tensor_reads(einsum):
            self.readers[read.tensor].discard(einsum.tensor)

    def _parts(self, node: Node, search: Search, user: Einsum) -> list[Part]:
        """The factors of a node: its own, or those of its two parts, each as it is emitted."""
        if not node.parts:
            return [Part(search.factors[i].expr, search.factors[i]) for i in node.members]
        return [p for part in node.parts for p in self._emitted(part, search, user)]

    def _emitted(self, node: Node, search: Search, user: Einsum) -> list[Part]:
        """A part of a product: a tensor if it is a sum, else what it is made of, multiplied."""
        parts = self._parts(node, search, user)
        if not node.sums:
            return together(parts)
        name = self.names(f"{stem(user)}_part")
        value = Reduce("sum", self._in_order(node.inner - node.variables), product(parts))
        made = definition(name, self._in_order(node.variables), value, user)
        self.einsums[name] = made
        self.tensors[name] = self.types(value)
        self._note(made)
        self.before.setdefault(user.tensor, []).append(name)
        return [Part(point(name, made.variables))]

    def _in_order(self, variables: frozenset[str]) -> tuple[str, ...]:
        """Variables in the order of their declaration."""
        return tuple(v for v in self.ranges if v in variables)


def _reduction(expr: Expr) -> str | None:
    """A reduction that an expression holds."""
    for node in subexpressions(expr):
        if isinstance(node, Reduce | Scan | Arg | TopK):
            return "argtopk" if isinstance(node, TopK) else node.op
    return None


def _expressions(einsum: Einsum) -> tuple[Expr, ...]:
    return (einsum.value, *einsum.where)
