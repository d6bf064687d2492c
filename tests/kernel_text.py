"""What the text of emitted kernels says, read from its syntax: loops, addresses, and faults."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Texts:
    """A module: its kernels by name, and the function that launches them."""

    tree: ast.Module

    @property
    def kernels(self) -> list[ast.FunctionDef]:
        """The kernels, in order."""
        return [f for f in self.functions if f.name.startswith("_k") and f.name[2:].isdigit()]

    @property
    def functions(self) -> list[ast.FunctionDef]:
        return [n for n in self.tree.body if isinstance(n, ast.FunctionDef)]

    @property
    def launch(self) -> ast.FunctionDef:
        """The function that launches them."""
        return next(f for f in self.functions if f.name == "_launch")

    def spans(self, kernel: str) -> dict[str, set[int]]:
        """For each tensor, the ranks whose reach decides the type of a kernel's coordinates."""
        found: dict[str, set[int]] = {}
        for node in ast.walk(self.launch):
            match node:
                case ast.Call(func=ast.Subscript(value=ast.Name(id=name))) if name == kernel:
                    for keyword in node.keywords:
                        if keyword.arg == "INDEX":
                            assert isinstance(keyword.value, ast.Call)
                            for pair in ast.literal_eval(_named(keyword.value.args[0])):
                                found.setdefault(pair[0], set()).update(pair[1])
                case _:
                    pass
        return found


def _named(expr: ast.expr) -> ast.expr:
    """An expression with each name as its text."""

    class Namer(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.Constant:
            return ast.Constant(node.id)

    found = Namer().visit(copy.deepcopy(expr))
    assert isinstance(found, ast.expr)
    return found


def parsed(text: str) -> Texts:
    """The syntax of a module."""
    return Texts(ast.parse(text))


def loops(kernel: ast.FunctionDef) -> list[str]:
    """The counters of a kernel's loops, one for each `for` of its text."""
    found = [n for n in ast.walk(kernel) if isinstance(n, ast.For)]
    return [ast.unparse(n.target) for n in found]


# Addresses

NARROW, INDEX, WIDE = 0, 1, 2
"""32 bits whatever the sizes; 64 where a call needs them; always 64."""


@dataclass
class Widths:
    """How wide the integers of a kernel are computed, and products with strides that are not."""

    kernel: ast.FunctionDef
    strides: dict[str, tuple[str, int]]
    """For each argument that is a stride, its tensor and the rank."""

    def __post_init__(self) -> None:
        self.names: dict[str, int] = {}
        self.narrow: list[str] = []
        self.ranks: dict[str, set[int]] = {}
        """Ranks of tensors whose offsets are in the type of coordinates."""
        for node in ast.walk(self.kernel):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.names[name] = self.width(value)
                case ast.For(target=ast.Name(id=name)):
                    self.names[name] = NARROW
                case _:
                    pass

    def check(self) -> None:
        """Looks at every product with a stride in an address."""
        for node in ast.walk(self.kernel):
            match node:
                case ast.BinOp(op=ast.Mult(), left=left, right=ast.Name(id=stride)) if (
                    stride in self.strides
                ):
                    tensor, rank = self.strides[stride]
                    width = self.width(left)
                    if width == NARROW:
                        self.narrow.append(ast.unparse(node))
                    elif width == INDEX:
                        self.ranks.setdefault(tensor, set()).add(rank)
                case _:
                    pass

    def width(self, expr: ast.expr) -> int:
        """How wide an expression is computed."""
        match expr:
            case ast.Name(id="INDEX"):
                return INDEX
            case ast.Name(id=name):
                return self.names.get(name, NARROW)
            case (
                ast.Call(func=ast.Attribute(attr="to"), args=[kind, *_])
                | ast.Call(func=ast.Attribute(attr="cast" | "full"), args=[*_, kind])
            ):
                shown = ast.unparse(kind)
                return {"tl.int64": WIDE, "INDEX": INDEX}.get(shown, NARROW)
            case ast.Call(func=ast.Attribute(attr="where"), args=[_, then, other]):
                return max(self.width(then), self.width(other))
            case ast.Call(func=ast.Attribute(attr="load")):
                return NARROW
            case ast.Call(args=arguments):
                return max(map(self.width, arguments), default=NARROW)
            case ast.BinOp(left=left, right=right):
                return max(self.width(left), self.width(right))
            case ast.UnaryOp(operand=operand):
                return self.width(operand)
            case ast.Subscript(value=value):
                return self.width(value)
            case _:
                return NARROW


def strides(kernel: ast.FunctionDef, text: str) -> dict[str, tuple[str, int]]:
    """The arguments of a kernel that are strides, by the notes in its text."""
    lines = text.splitlines()
    found: dict[str, tuple[str, int]] = {}
    for line in lines[kernel.lineno - 1 : kernel.body[0].lineno]:
        code, _, note = line.partition("# strides")
        if note or line.rstrip().endswith("# strides"):
            names = [n.strip() for n in code.split(",") if n.strip()]
            tensor = names[0].rpartition("_")[0]
            found |= {n: (tensor, i) for i, n in enumerate(names)}
    return found


def unsafe(text: str) -> list[str]:
    """Products with strides that may overflow: in 32 bits, or along ranks that no call looks at."""
    module = parsed(text)
    found: list[str] = []
    for kernel in module.kernels:
        given = strides(kernel, text)
        widths = Widths(kernel, given)
        widths.check()
        found += [f"{kernel.name}: {product}" for product in widths.narrow]
        spans = module.spans(kernel.name)
        for tensor, ranks in widths.ranks.items():
            missing = ranks - spans.get(tensor, set())
            found += [f"{kernel.name}: rank {r} of {tensor} is not looked at" for r in missing]
    return found


def products(text: str) -> int:
    """How many products with strides there are in addresses."""
    module = parsed(text)
    count = 0
    for kernel in module.kernels:
        names = strides(kernel, text)
        count += sum(
            isinstance(n, ast.BinOp)
            and isinstance(n.op, ast.Mult)
            and isinstance(n.right, ast.Name)
            and n.right.id in names
            for n in ast.walk(kernel)
        )
    return count


# Faults

Change = Callable[[ast.AST], ast.AST | None]
"""What becomes of a node; None where the fault is not possible there."""


def faulty(text: str, change: Change, most: int = 3) -> Iterator[tuple[str, str]]:
    """The module with one node of its kernels changed, for each node where that is possible."""
    nodes = list(_nodes(ast.parse(text)))
    count = 0
    for place, node in enumerate(nodes):
        if count == most or change(copy.deepcopy(node)) is None:
            continue
        count += 1
        tree = ast.parse(text)
        old = list(_nodes(tree))[place]
        new = change(copy.deepcopy(old))
        assert new is not None
        _replace(tree, old, new)
        yield ast.unparse(node).splitlines()[0], ast.unparse(ast.fix_missing_locations(tree))


def _nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """What the statements of kernels consist of."""
    for kernel in Texts(tree).kernels:
        for item in kernel.body:
            yield from ast.walk(item)


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list) and any(v is old for v in value):
                setattr(parent, field, [new if v is old else v for v in value])
