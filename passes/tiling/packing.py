"""Two parallel axes as one of rows: what the new coordinates are, and what the old ones become."""

from __future__ import annotations

from dataclasses import dataclass

from attnc.ir.expr import Apply, Binary, Expr, Int, Var
from attnc.ir.tiles import Axis, Coord, Kernel


@dataclass(frozen=True)
class Packing:
    """Axes `shared` and `rows` become `outer` and `inner`, with `count` of `shared` in each row.

    With `P` for `count`, `H` and `M` for the extents of `shared` and `rows`:

        outer in ceildiv(H, P),  inner in M * P,  rows = inner // P,  shared = outer * P + inner % P

    Each pair of coordinates within their extents is met once. The last group may reach beyond `H`:
    `shared < H` stays to be tested. Without `rows`, `inner` is in `P`.

    Let `P` be 1 or `divisor`, `G`. Then `shared // R` is `outer * P // R` for each multiple `R` of
    `G`: both `outer * P` and `R` are multiples of `P`, so that the remainder of `outer * P` is at
    most `R - P`, and adding `inner % P`, which is less than `P`, does not reach the next quotient.
    """

    shared: str
    rows: str | None
    divisor: Expr | None
    count: Expr
    outer: str
    inner: str

    @property
    def old(self) -> frozenset[str]:
        """The axes that are packed."""
        return frozenset(n for n in (self.shared, self.rows) if n is not None)

    def axes(self, kernel: Kernel) -> tuple[Axis, Axis]:
        """The new axes."""
        inner = self.count
        if self.rows is not None:
            inner = Binary("*", kernel.axis(self.rows).size, self.count)
        outer = Apply("ceildiv", (kernel.axis(self.shared).size, self.count))
        return Axis(self.outer, outer, "par"), Axis(self.inner, inner, "par")

    def coords(self, kernel: Kernel) -> tuple[Coord, ...]:
        """What the old axes are now."""
        first, lane = Binary("*", Var(self.outer), self.count), Var(self.inner)
        if self.rows is None:
            value = Binary("+", first, lane)
            return (Coord(self.shared, value, kernel.axis(self.shared).size),)
        value = Binary("+", first, Binary("%", lane, self.count))
        row = Binary("//", lane, self.count)
        return (
            Coord(self.rows, row, kernel.axis(self.rows).size),
            Coord(self.shared, value, kernel.axis(self.shared).size),
        )

    def quotient(self, divisor: Expr) -> bool:
        """Whether `shared // divisor` is one number for all that a row holds of `shared`."""
        match divisor:
            case _ if divisor == self.divisor:
                return True
            case Binary(op="*", left=left, right=right):
                return self.quotient(left) or self.quotient(right)
            case _:
                return False

    def bound(self, kernel: Kernel, which: str, name: str) -> Expr:
        """`low` or `high` of an old axis, by those of the new ones.

        Of `shared` it is the first or the last of the group, which a tile may not reach. Bounds say
        what lies between them; and any pair of coordinates between these is a pair that there is,
        if in another tile. So what no lane needs is needed within no bounds.
        """
        at = Apply(which, (Var(self.inner if name == self.rows else self.outer),))
        if name == self.rows:
            return Binary("//", at, self.count)
        first = Binary("*", at, self.count)
        if which == "low":
            return first
        last = Binary("+", first, Binary("-", self.count, Int(1)))
        return Apply("min", (last, Binary("-", kernel.axis(name).size, Int(1))))
