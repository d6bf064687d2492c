"""Running forms of what could share a kernel: which of it does, and what is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from attnc.ir.cascade import Binding, Einsum, Require
from attnc.ir.expr import Arg, Reduce, Value
from attnc.ir.facts import Facts
from attnc.ir.stages import tensor_reads
from attnc.ir.types import Type
from attnc.ir.typing import Types
from attnc.ir.walk import bound
from attnc.passes.algebra.program import Names
from attnc.passes.running.checks import NotShownError, check
from attnc.passes.running.derive import Around, Plain, Refusal, Running, Sum, derive
from attnc.passes.tiling.inline import Variables


@dataclass(frozen=True)
class Derived:
    """What runs in one pass: results with their forms, and rows that need none of them.

    `refusals` say what of it needs another pass, and why.
    """

    results: tuple[Einsum, ...]
    forms: tuple[Running, ...]
    rows: tuple[Einsum, ...]
    refusals: tuple[Refusal, ...]


@dataclass
class Deriving:
    """Derives for the kernels of one cascade; `types` are those of all tensors, added ones too."""

    facts: Facts
    variables: Variables
    types: dict[str, Type] = field(default_factory=dict[str, Type])

    def __post_init__(self) -> None:
        self.types |= self.facts.types
        self.names: Names = Names(self.facts.cascade)
        statements = self.facts.cascade.statements
        self.around: Around = Around(
            tuple(s.condition for s in statements if isinstance(s, Require)),
            {s.name: s.value for s in statements if isinstance(s, Binding)},
        )

    def __call__(self, members: Sequence[Einsum]) -> Derived:
        """Those members that can run in one pass, and what is added to them."""
        extents = [d.name for d in self.variables.sizes.values() if isinstance(d, Value)]
        refused: dict[str, Refusal] = {}
        while True:
            reduced = [e for e in members if isinstance(e.value, Reduce)]
            streamed = {v for e in reduced for v in bound(e.value)}
            derived = derive(reduced, streamed, extents, self.around, self.names)
            forms = {form.tensor: form for form in derived.running}
            found = {r.tensor: r for r in derived.refusals}
            known = {e.tensor: e for e in (*members, *(a.einsum for a in derived.added))}
            _check(forms, known, found)
            _first(members, forms, found)
            _rows(members, found)
            refused |= found
            # what reads one that waits has to wait, too
            waiting = set(found)
            for einsum in members:
                if waiting & {r.tensor for r in tensor_reads(einsum)}:
                    waiting.add(einsum.tensor)
            if not waiting:
                break
            members = [e for e in members if e.tensor not in waiting]
        for added in derived.added:
            rule = Types(self.facts.values, dict[str, Type | None](self.types))
            self.types[added.einsum.tensor] = rule(added.einsum.value)
        order = [
            e.tensor
            for member in members
            for e in (*(a.einsum for a in derived.added if a.owner == member.tensor), member)
            if e.tensor in forms
        ]
        return Derived(
            tuple(known[t] for t in order),
            tuple(forms[t] for t in order),
            tuple(e for e in members if not isinstance(e.value, Reduce | Arg)),
            tuple(refused.values()),
        )


def _check(
    forms: Mapping[str, Running], known: Mapping[str, Einsum], refused: dict[str, Refusal]
) -> None:
    """Refuses what exact arithmetic does not show; raises `Wrong` for what is not so."""
    for form in forms.values():
        whole = known[form.tensor].value
        if isinstance(form, Sum) and not form.basis.constant and isinstance(whole, Reduce):
            try:
                check(form.basis, whole.body, frozenset(forms))
            except NotShownError:
                reason = "its running form is not shown to be what is written"
                refused[form.tensor] = Refusal(form.tensor, whole.body, reason)


def _first(
    members: Sequence[Einsum], forms: dict[str, Running], refused: dict[str, Refusal]
) -> None:
    """Adds the running forms of first indices: of those of what holds no earlier result."""
    moving = {e.tensor for e in members}
    for einsum in members:
        value = einsum.value
        if not isinstance(value, Arg):
            continue
        if moving & {r.tensor for r in tensor_reads(einsum)}:
            reason = f"{value.op} is derived only where no earlier result is in it"
            refused[einsum.tensor] = Refusal(einsum.tensor, value.body, reason)
        else:
            forms[einsum.tensor] = Plain(einsum.tensor, value.op, value.body)


def _rows(members: Sequence[Einsum], refused: dict[str, Refusal]) -> None:
    """Refuses what is stored row by row and reads a result that is not finished then."""
    moving = {e.tensor for e in members if isinstance(e.value, Reduce | Arg)}
    for einsum in members:
        for read in tensor_reads(einsum):
            if einsum.tensor not in moving and read.tensor in moving:
                reason = "it is stored as it goes, and reads what is not finished then"
                refused[einsum.tensor] = Refusal(einsum.tensor, read, reason)
