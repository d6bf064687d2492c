"""Products of tiles as the blocks in registers that compute them take their operands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from attnc.backends.triton.terms import HELD
from attnc.backends.tvm.memory import STORED
from attnc.backends.tvm.scope import LaneScope
from attnc.backends.tvm.terms import DTYPES
from attnc.ir.expr import Binary, Expr, Name
from attnc.ir.tiles import Dot, Load
from attnc.ir.tiles_walk import expressions, names, statements


@dataclass
class Matrices:
    """Products of one kernel: of one operand numbers are taken one by one, of the other vectors."""

    scope: LaneScope

    def __post_init__(self) -> None:
        body = list(statements(self.scope.kernel.body))
        uses = Counter(n for s in body for e in expressions(s) for n in names(e))
        single = Counter(self.read(s) for s in body if isinstance(s, Dot) and self.has(s))
        self.placed: dict[str, str] = {
            s.target: condition
            for s in body
            if isinstance(s, Load) and uses[s.target] == single[s.target] > 0
            if (condition := self._readable(s)) is not None
        }
        """Operands that need not be copied where all of their lanes are in memory, and when."""

    def has(self, item: Dot) -> bool:
        """Whether a product has a text of its own: tiles lie as that takes them."""
        found = self.scope.products.matrices.get(item.target)
        if found is None or not self.alike(item):
            return False
        rows, columns = self.sides(item)
        layouts = self.scope.layouts
        _, right = self.operands(item)
        return layouts[item.target] == (columns, rows) and layouts[right] == (found.over, rows)

    def alike(self, item: Dot) -> bool:
        """Whether operands are held as the product is; others are multiplied lane by lane."""
        kinds = self.scope.context.kinds
        return {HELD[kinds[item.left]], HELD[kinds[item.right]]} == {HELD[item.kind]}

    def read(self, item: Dot) -> str:
        """The operand that may be read in memory."""
        return self.operands(item)[0]

    def sides(self, item: Dot) -> tuple[str, str]:
        """The axis along which vectors go, and the other."""
        found = self.scope.products.matrices[item.target]
        if self.scope.layouts[item.target][-1] == found.rows:
            return found.rows, found.columns
        return found.columns, found.rows

    def operands(self, item: Dot) -> tuple[str, str]:
        """The operand whose elements are taken one by one, and that which is taken in vectors."""
        found = self.scope.products.matrices[item.target]
        vector, _ = self.sides(item)
        pair = (found.right, found.left)
        return pair if vector == found.rows else pair[::-1]

    def begun(self, item: Dot, addend: Expr) -> bool:
        """Whether what a product is added onto is told in its registers: by products and sums."""
        match addend:
            case Name(name=name):
                context, layouts = self.scope.context, self.scope.layouts
                if name not in layouts or HELD[context.kinds[name]] is not HELD[item.kind]:
                    return False
                return set(layouts[name]) <= set(layouts[item.target])
            case Binary(op="+" | "*", left=left, right=right):
                return self.begun(item, left) and self.begun(item, right)
            case _:
                return False

    def _readable(self, item: Load) -> str | None:
        """When elements lie in memory as they are computed with; None: never, or not in place."""
        declared = {i.name: i.element for i in self.scope.plan.inputs}
        if item.tensor not in declared or names(*item.index):
            return None
        stored, dtype = STORED[declared[item.tensor]], DTYPES[HELD[item.kind]]
        vector = self.scope.size_of(self.scope.vector or "")
        return f"_placed({stored}, {dtype}, {vector}, LANES)"
