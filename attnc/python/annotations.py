"""What the annotations of a function say, read without evaluating any text.

`Q: "B H M E"`, `Q: Annotated[Tensor, "B H M E"]`, `window: int = 4096`, and the same where
`from __future__ import annotations` has made texts of them. A name in such a text is looked up
among the function's globals; nothing else of it is run.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeGuard, get_args, get_origin

from attnc.errors import Span
from attnc.python.pieces import Fault, Faulty, Origin, Origins, Piece

SCALARS: Final[Mapping[type, str]] = {int: "int", float: "float", bool: "bool"}
RANK: Final = re.compile(r"[A-Z][A-Z0-9_]*|[0-9]{1,19}")
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
SHAPE: Final = re.compile(
    r"\s*(?P<ranks>[^:]*?)\s*(?::\s*(?P<type>[^:]*?)\s*)?(?:(?<!\S)empty\s+(?P<empty>.*?)\s*)?",
    re.DOTALL,
)
CONSTANT: Final = re.compile(r"-?(?:inf|true|false|[0-9][0-9.eE+-]*|\.[0-9][0-9eE+-]*)")


@dataclass(frozen=True, slots=True)
class Shape:
    """The text of a tensor's annotation, and where it stands."""

    text: str
    origin: Origin

    def ranks(self) -> tuple[str, ...]:
        """The declared dimensions."""
        return tuple(p.text for p in self._ranks())

    def pieces(self, *, output: bool = False) -> list[Piece]:
        """The declaration as a header writes it behind the name: `[B,H,M,E]`, `[B,N]: i32`.

        Raises `Faulty` for what is neither ranks nor a type nor a fill.
        """
        found: list[Piece] = [self._made("[")]
        for i, rank in enumerate(self._ranks()):
            found += ([self._made(",")] if i else []) + [rank]
        found.append(self._made("]"))
        element, empty = self._part("type"), self._part("empty")
        if element is not None:
            if not NAME.fullmatch(element.text):
                raise self._fault("after ':' comes an element type, as in \"B N: i32\"", element)
            found += [self._made(": "), element]
        if empty is not None:
            if not output:
                raise self._fault("only a result has an `empty` value", empty)
            if not CONSTANT.fullmatch(empty.text):
                raise self._fault('after `empty` comes a constant, as in "B M empty -inf"', empty)
            found += [self._made(" empty "), empty]
        return found

    def _ranks(self) -> Iterator[Piece]:
        match = self._match()
        for word in re.finditer(r"[^\s,]+", match["ranks"]):
            piece = Piece(word[0], self.origin, match.start("ranks") + word.start())
            if not RANK.fullmatch(word[0]):
                hint = 'an annotation lists ranks in capitals, as in "B H M E" or "B N: i32"'
                raise self._fault(f"'{word[0][:40]}' is no rank", piece, hint)
            yield piece

    def _part(self, name: str) -> Piece | None:
        match = self._match()
        if match[name] is None:
            return None
        return Piece(match[name], self.origin, match.start(name))

    def _match(self) -> re.Match[str]:
        match = SHAPE.fullmatch(self.text)
        if match is None:
            message = "this is no list of ranks"
            raise Faulty([Fault(message, Origins(self.origin), ('as in "B H M E" or "B N: i32"',))])
        return match

    def _made(self, text: str) -> Piece:
        return Piece(text, self.origin)

    def _fault(self, message: str, piece: Piece, *hints: str) -> Faulty:
        at = piece.at or 0
        return Faulty([Fault(message, Origins(self.origin, Span(at, at + len(piece.text))), hints)])


Described = Shape | str
"""A tensor's shape, or the type of a parameter."""


def argument(annotation: object, name: str, lookup: Callable[[str], object]) -> Described | None:
    """What the annotation of an argument says; None if it says nothing that is known."""
    return _described(annotation, Origin("annotation", name), lookup)


def results(annotation: object, lookup: Callable[[str], object]) -> list[Shape] | None:
    """The shapes of a function's results, in order; None if the annotation gives none."""
    items = _items(annotation)
    found = [
        _described(item, Origin("returns", str(i)), lookup)
        for i, item in enumerate([annotation] if items is None else items)
    ]
    shapes = [f for f in found if isinstance(f, Shape)]
    return shapes if shapes and len(shapes) == len(found) else None


def _items(annotation: object) -> list[object] | None:
    """The items of a tuple of annotations, however it is written."""
    if isinstance(annotation, tuple | list):
        return list(annotation)
    if get_origin(annotation) is tuple:
        return list(get_args(annotation))
    node = _parsed(annotation) if isinstance(annotation, str) else annotation
    if isinstance(node, ast.Tuple | ast.List):
        return list(node.elts)
    if _subscript(node, "tuple", "Tuple") and isinstance(node.slice, ast.Tuple):
        return list(node.slice.elts)
    return None


def _described(
    annotation: object, origin: Origin, lookup: Callable[[str], object]
) -> Described | None:
    if isinstance(annotation, str):
        node = _parsed(annotation)
        found = _described(node, origin, lookup) if node is not None else None
        return Shape(annotation, origin) if found is None else found
    match annotation:
        case ast.Constant(value=str(text)):
            return Shape(text, origin)
        case ast.Name(id=name):
            return _described(_found(name, lookup), origin, lookup)
        case ast.Subscript():
            if _subscript(annotation, "Annotated") and isinstance(annotation.slice, ast.Tuple):
                return _shape((_text(node, lookup) for node in annotation.slice.elts[1:]), origin)
            return None
        case type() if annotation in SCALARS:
            return SCALARS[annotation]
    if get_origin(annotation) is Annotated:
        return _shape(get_args(annotation)[1:], origin)
    return None


def _shape(items: Iterable[object], origin: Origin) -> Shape | None:
    """The shape that the first text among the items of an `Annotated` gives."""
    return next((Shape(item, origin) for item in items if isinstance(item, str)), None)


def _found(name: str, lookup: Callable[[str], object]) -> object:
    """What a name of an annotation stands for, if that is an annotation itself."""
    value = lookup(name)
    return None if isinstance(value, str | ast.AST) else value


def _text(node: ast.expr, lookup: Callable[[str], object]) -> str | None:
    """A text, or a name that stands for one."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            value = lookup(name)
            return value if isinstance(value, str) else None
        case _:
            return None


def _parsed(text: str) -> ast.expr | None:
    """A text as a Python expression, if it is one; it is not evaluated."""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.parse(text, mode="eval").body
    return None


def _subscript(node: object, *names: str) -> TypeGuard[ast.Subscript]:
    """Whether this is `name[...]` or `module.name[...]`."""
    if not isinstance(node, ast.Subscript):
        return False
    value = node.value
    last = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return last in names


def lookup_in(function: Callable[..., Any]) -> Callable[[str], object]:
    """Looks names up among the globals of a function and the types of parameters."""
    names: dict[str, object] = {kind.__name__: kind for kind in SCALARS}
    names.update(getattr(function, "__globals__", {}))
    return names.get
