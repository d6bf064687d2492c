"""Which products of tiles are products of matrices, and which are added to something at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from attnc.backends.triton.schedule import is_matrix
from attnc.backends.triton.scope import KernelScope
from attnc.ir.expr import Binary, Expr, Name
from attnc.ir.tiles import Dot, Map
from attnc.ir.tiles_walk import expressions, names, statements
from attnc.passes.tiling.presence import TRUE


@dataclass(frozen=True, slots=True)
class Matrix:
    """A product of matrices as it is printed: `left[rows,over] @ right[over,columns]`."""

    left: str
    right: str
    rows: str
    over: str
    columns: str


@dataclass
class Products:
    """The products of a kernel."""

    scope: KernelScope
    matrices: dict[str, Matrix] = field(default_factory=dict[str, Matrix])
    operands: set[str] = field(default_factory=set[str])
    """Tiles that are operands of products of matrices."""
    only: set[str] = field(default_factory=set[str])
    """Tiles that are nothing else."""
    sums: dict[str, tuple[Dot, Expr]] = field(default_factory=dict[str, tuple[Dot, Expr]])
    """Maps that add to a product, which nothing else reads, what it is and what is added."""

    def __post_init__(self) -> None:
        body = self.scope.kernel.body
        uses = Counter(n for s in statements(body) for e in expressions(s) for n in names(e))
        dots = {s.target: s for s in statements(body) if isinstance(s, Dot)}
        as_operand: Counter[str] = Counter()
        for dot in dots.values():
            found = self._matrix(dot)
            if found is not None:
                self.matrices[dot.target] = found
                as_operand[found.left] += 1
                as_operand[found.right] += 1
        self.operands = set(as_operand)
        self.only = {n for n, count in as_operand.items() if uses[n] == count}
        for item in statements(body):
            match item:
                case Map(target=target, value=Binary(op="+", left=left, right=right), kind=kind):
                    for side, other in ((right, left), (left, right)):
                        name = side.name if isinstance(side, Name) else ""
                        single = name in self.matrices and uses[name] == 1
                        if single and dots[name].kind is kind:
                            self.sums[target] = dots[name], other
                            break
                case _:
                    pass
        self.added: set[str] = {d.target for d, _ in self.sums.values()}

    def _matrix(self, item: Dot) -> Matrix | None:
        scope = self.scope
        axes = {n: set(scope.dimensions(scope.context.axes[n])) for n in (item.left, item.right)}
        over = set(scope.dimensions(item.over))
        if item.where != TRUE or not item.kind.floating:
            return None
        if not is_matrix(axes[item.left], axes[item.right], over):
            return None
        left, right = item.left, item.right
        (rows,), (columns,), (inner,) = axes[left] - over, axes[right] - over, over
        if scope.place(rows) > scope.place(columns):
            left, right, rows, columns = right, left, columns, rows
        return Matrix(left, right, rows, inner, columns)
