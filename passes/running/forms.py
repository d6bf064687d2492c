"""Running forms: what a reduction is while the points go by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Expr
from attnc.passes.running.closure import Basis


@dataclass(frozen=True)
class Sum:
    """A sum whose basis is closed.

    `measured` says that its terms may cancel where those of the written text do not: see
    `anchor.py`.
    """

    tensor: str
    basis: Basis
    measured: bool = False

    @property
    def result(self) -> tuple[tuple[int, Expr], ...]:
        """Indices of basis functions with their coefficients `c(r)`."""
        return tuple(self.basis.coefficients.items())


@dataclass(frozen=True)
class Extreme:
    """A maximum or minimum of what is streamed alone, with a monotone function around it.

    `result` holds a read of the state, `Read(tensor, ...)` itself, where the extreme stands.
    """

    tensor: str
    op: str
    inner: Expr
    result: Expr


@dataclass(frozen=True)
class Plain:
    """A reduction of what holds no earlier result: any operation, no change of state."""

    tensor: str
    op: str
    body: Expr


Running: TypeAlias = Sum | Extreme | Plain


@dataclass(frozen=True)
class Refusal:
    """Why a reduction needs a pass of its own: the term, and the reason."""

    tensor: str
    term: Expr
    reason: str


@dataclass(frozen=True)
class Added:
    """A reduction that was not written, and the tensor whose sums are kept about it."""

    einsum: Einsum
    owner: str


@dataclass(frozen=True)
class Derivation:
    """The reductions that run in one pass, in order, and those that cannot.

    `added` are those among the running ones that were not written.
    """

    running: tuple[Running, ...]
    refusals: tuple[Refusal, ...]
    added: tuple[Added, ...] = ()
