"""A Python function as a spec: its signature is the header, its docstring the body."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from attnc.grammar.scope import RESERVED
from attnc.python.annotations import NAME, Shape, argument, lookup_in, results
from attnc.python.docstring import DOCSTRING, Body, body
from attnc.python.pieces import Assembled, Fault, Faulty, Origin, Origins, Piece

HEADER: Final = Origin("name")
INDENT: Final = "    "
WIDTH: Final = 100
TRIVIAL: Final = frozenset(
    "RESUME NOP LOAD_CONST RETURN_VALUE RETURN_CONST LOAD_GLOBAL RAISE_VARARGS COPY_FREE_VARS "
    "LOAD_ASSERTION_ERROR NOT_TAKEN CACHE".split()
)
"""What the code of a function holds that is only a docstring, `...` or `raise Something`."""

HOW: Final = 'an argument is a tensor, as Q: "B H M E", or a parameter, as window: int = 4096'


def assembled(function: Callable[..., Any]) -> Assembled:
    """The spec that a function writes.

    Raises `Faulty` if an annotation or the docstring is missing, or means nothing.
    """
    signature = inspect.signature(function)
    lookup = lookup_in(function)
    faults: list[Fault] = []
    arguments: list[list[Piece]] = []
    for item in own_parameters(function, signature):
        try:
            arguments.append(_argument(item, lookup))
        except Faulty as error:
            faults += error.faults
    try:
        cut = body(_docstring(function))
    except Faulty as error:
        raise Faulty([*faults, *error.faults]) from None
    returned = signature.return_annotation
    shapes = None if returned is signature.empty else results(returned, lookup)
    if shapes is None:
        hint = 'the annotation of the function gives the ranks of its results: -> "B H M F"'
        faults.append(Fault("the result has no ranks", Origins(Origin("returns")), (hint,)))
    elif len(shapes) != len(cut.returned):
        message = f"{len(cut.returned)} returned, but the annotation gives {len(shapes)}"
        place = cut.returned[0].span.to(cut.returned[-1].span)
        faults.append(Fault(message, Origins(DOCSTRING, place)))
    if faults or shapes is None:
        raise Faulty(faults)
    taken = cut.words | set(signature.parameters)
    names = _output_names(cut, taken)
    outputs = [
        [Piece(name, shape.origin), *shape.pieces(output=True)]
        for name, shape in zip(names, shapes, strict=True)
    ]
    return Assembled(
        (
            *_reindented(cut.text[: cut.begin], 0, ""),
            *_header(cascade_name(function), arguments, outputs),
            *_reindented(cut.text[cut.begin : cut.end].rstrip(), cut.begin, INDENT),
            *_returned(cut, names, shapes),
        )
    )


def own_parameters(
    function: Callable[..., Any], signature: inspect.Signature
) -> list[inspect.Parameter]:
    """The parameters of a function but `self` or `cls` of a method."""
    found = list(signature.parameters.values())
    return found[1:] if is_method(found) else found


def is_method(parameters: Sequence[inspect.Parameter]) -> bool:
    """Whether the first parameter is the object that a method is called on."""
    first = parameters[0] if parameters else None
    return first is not None and first.name in ("self", "cls") and first.annotation is first.empty


def cascade_name(function: Callable[..., Any]) -> str:
    """The function's name, if a cascade can be called that; else `kernel`."""
    name = getattr(function, "__name__", "").strip("_")
    return name if NAME.fullmatch(name) and name not in RESERVED else "kernel"


def _docstring(function: Callable[..., Any]) -> str:
    text = function.__doc__
    if not text:
        hint = "attnc.kernel(text) takes a spec as a text; `python -OO` removes docstrings"
        raise Faulty([Fault("the function has no docstring to compile", Origins(HEADER), (hint,))])
    code = getattr(function, "__code__", None)
    if code is None or any(i.opname not in TRIVIAL for i in dis.get_instructions(code)):
        message = "this function has a body that would never run"
        hint = "the docstring alone is compiled; leave the rest away"
        raise Faulty([Fault(message, Origins(HEADER), (hint,))])
    return text


def _argument(item: inspect.Parameter, lookup: Callable[[str], object]) -> list[Piece]:
    """One argument as a header writes it."""
    origin = Origin("argument", item.name)
    if item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD):
        raise Faulty([Fault("a kernel names each of its arguments", Origins(origin), (HOW,))])
    if not NAME.fullmatch(item.name):
        hint = "names are ASCII: a letter, then letters, digits and _"
        raise Faulty([Fault(f"no argument is called '{item.name}'", Origins(origin), (hint,))])
    found = None if item.annotation is item.empty else argument(item.annotation, item.name, lookup)
    name = Piece(item.name, origin, 0)
    match found:
        case None if item.annotation is item.empty:
            raise Faulty([Fault(f"{item.name} has no annotation", Origins(origin), (HOW,))])
        case None:
            message = f"this does not say what {item.name} is"
            raise Faulty([Fault(message, Origins(Origin("annotation", item.name)), (HOW,))])
        case Shape():
            if item.default is not item.empty:
                place = Origins(Origin("default", item.name))
                raise Faulty([Fault(f"the tensor {item.name} has a default value", place)])
            return [name, *found.pieces()]
        case str():
            written = Origin("annotation", item.name)
            return [name, Piece(f": {found}", written), *_default(item)]


def _default(item: inspect.Parameter) -> list[Piece]:
    if item.default is item.empty:
        return []
    origin = Origin("default", item.name)
    if not isinstance(item.default, int | float) or item.default != item.default:
        message = f"the default of {item.name} is no int, float or bool"
        raise Faulty([Fault(message, Origins(origin))])
    value = item.default
    text = str(value).lower() if isinstance(value, bool) else repr(value + 0)
    return [Piece(" = ", origin), Piece(text, origin)]


def _output_names(cut: Body, taken: frozenset[str] | set[str]) -> list[str]:
    """A name for each result: its tensor's if it is one, else `O`, `O2`, ... not yet used."""
    names: list[str] = []
    for i, value in enumerate(cut.returned):
        name, number = value.tensor, i + 1
        if name is None or name in names:
            name = "O" if i == 0 else f"O{number}"
            while name in taken or name in names:
                number += 1
                name = f"O{number}"
        names.append(name)
    return names


def _header(
    name: str, arguments: Sequence[Sequence[Piece]], outputs: Sequence[Sequence[Piece]]
) -> Iterator[Piece]:
    """`cascade name(...) -> ...:`, on one line or with a line for each argument."""

    def made(text: str) -> Piece:
        return Piece(text, HEADER)

    every = [*arguments, *outputs]
    length = sum(len(p.text) for one in every for p in one) + 2 * len(every)
    broken = length + len(f"cascade {name}() -> :") > WIDTH
    start, between, end = (f"\n{INDENT}", f",\n{INDENT}", ",\n") if broken else ("", ", ", "")
    yield made(f"cascade {name}({start if arguments else ''}")
    for i, argument_ in enumerate(arguments):
        yield from ([made(between)] if i else [])
        yield from argument_
    yield made(f"{end if arguments else ''}) -> ")
    for i, output in enumerate(outputs):
        yield from ([made(", ")] if i else [])
        yield from output
    yield made(":\n")


def _reindented(text: str, at: int, indent: str) -> Iterator[Piece]:
    """Lines of the docstring with an indent of our own; blank ones at both ends left out."""
    lines = text.split("\n")
    below = lines[1:] if at == 0 else lines  # the first line begins behind the quotes
    margin = min((_margin(x) for x in below if x.strip()), default=0)
    blank = 0
    begun = False
    for line in lines:
        stripped, cut = line.rstrip(), min(_margin(line), margin)
        if at == 0:
            cut = _margin(line)
        if stripped:
            yield Piece("\n" * (blank if begun else 0) + indent, DOCSTRING)
            yield Piece(stripped[cut:], DOCSTRING, at + cut)
            yield Piece("\n", DOCSTRING)
            begun, blank = True, 0
        else:
            blank += 1
        at += len(line) + 1


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def _returned(cut: Body, names: Sequence[str], shapes: Sequence[Shape]) -> Iterator[Piece]:
    """A statement for each result that is no tensor yet."""
    for value, name, shape in zip(cut.returned, names, shapes, strict=True):
        if value.tensor == name:
            continue
        ranks = shape.ranks()
        if len(set(ranks)) < len(ranks) or any(r[0].isdigit() for r in ranks):
            hint = f"define it as a tensor, {name}[...] = ..., and return that"
            message = f"no variables are known for the ranks {' '.join(ranks)} of this result"
            raise Faulty([Fault(message, Origins(DOCSTRING, value.span), (hint,))])
        variables = ",".join(r.lower() for r in ranks)
        origin = shape.origin
        yield Piece(f"{INDENT}{name}[{variables}] = ", origin)
        yield Piece(cut.text[value.span.start : value.span.end], DOCSTRING, value.span.start)
        yield Piece("\n", origin)
