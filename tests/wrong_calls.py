"""Calls of an emitted module that must be refused, made where it is interpreted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.interpreted import _loaded, tensor


@dataclass(frozen=True)
class Signature:
    """What a module takes: inputs with ranks and element types, parameters with types."""

    name: str
    inputs: tuple[tuple[str, tuple[Any, ...], str | None], ...]
    parameters: tuple[tuple[str, str, bool], ...]
    """Names, types, and whether there is a default."""


@dataclass(frozen=True)
class Outcome:
    """What became of a call: what was wrong with which argument, and how it was refused."""

    label: str
    argument: str
    kind: str
    message: str
    launched: bool


class Spy:
    """A kernel that notes that it is launched."""

    def __init__(self) -> None:
        self.launched = False

    def __getitem__(self, grid: Any) -> Any:
        def launch(*_: Any, **__: Any) -> None:
            self.launched = True

        return launch


def outcomes(
    text: str, signature: Signature, arrays: Sequence[Any], parameters: Mapping[str, Any]
) -> list[Outcome]:
    """What becomes of wrong calls, each with one thing wrong; the first one has nothing wrong."""
    function = _loaded(text)
    space = function.__globals__
    kept = {n: v for n, v in space.items() if n.startswith("_k") and n[2:].isdigit()}
    spy = Spy()
    space.update(dict.fromkeys(kept, spy))
    found = []
    try:
        right = [tensor(a) for a in arrays]
        for label, argument, given, named in [
            ("right", "", right, dict(parameters)),
            *wrong(signature, right, parameters),
        ]:
            spy.launched = False
            kind, message = "", ""
            try:
                function(*given, **named)
            except Exception as error:  # whatever it is, the test looks at it
                kind, message = type(error).__name__, str(error)
            found.append(Outcome(label, argument, kind, message, spy.launched))
    finally:
        space.update(kept)
    return found


Call = tuple[str, str, list[Any], dict[str, Any]]


def wrong(
    signature: Signature, right: Sequence[Any], parameters: Mapping[str, Any]
) -> Iterator[Call]:
    """Calls with one thing wrong: what, of which argument, and the call."""
    yield from _tensors(signature, right, dict(parameters))
    for label, argument, named in _parameters(signature, dict(parameters)):
        yield label, argument, list(right), named


def _tensors(signature: Signature, right: Sequence[Any], named: dict[str, Any]) -> Iterator[Call]:
    import torch

    sizes = [s for _, ranks, _ in signature.inputs for s in ranks]
    untyped = [i for i, (_, _, element) in enumerate(signature.inputs) if element is None]
    for place, (name, ranks, element) in enumerate(signature.inputs):
        x = right[place]

        def instead(other: Any, place: int = place) -> list[Any]:
            return [*right[:place], other, *right[place + 1 :]]

        for other in (None, 3, "x", x.tolist(), x.numpy(), object(), torch.float32):
            yield f"a {type(other).__name__}", name, instead(other), named
        yield "a rank more", name, instead(x.unsqueeze(0)), named
        yield "a rank more at the end", name, instead(x.unsqueeze(-1)), named
        if ranks:
            yield (
                "a rank less",
                name,
                instead(x.flatten(0, 1) if len(ranks) > 1 else x.sum()),
                named,
            )
            yield "sparse", name, instead(x.to_sparse()), named
        if len(ranks) == 2:
            yield "sparse rows", name, instead(x.to_sparse_csr()), named
        yield "on meta", name, instead(x.to("meta")), named
        for dtype in (
            torch.complex64,
            torch.int16,
            torch.uint8,
            torch.bool,
            torch.float64,
            torch.float8_e5m2,
            torch.int32,
        ):
            shared = element is None and dtype == torch.float64
            takes = {"i32": torch.int32, "u8": torch.uint8, "bool": torch.bool}.get(element or "")
            if dtype == takes or (shared and len(untyped) == 1) or element in ("f64", "f8e5m2"):
                continue
            yield f"{dtype}", name, instead(x.to(dtype)), named
        for rank, size in enumerate(ranks):
            if isinstance(size, int) or sizes.count(size) > 1 or size in named:
                more = torch.cat([x, x.narrow(rank, 0, 1)], rank) if x.shape[rank] else None
                if more is not None:
                    yield f"rank {size} too long", "", instead(more), named
                    short = x.narrow(rank, 0, x.shape[rank] - 1)
                    yield f"rank {size} too short", "", instead(short), named
    yield "one tensor less", signature.inputs[-1][0], [*right[:-1]], named
    yield "one tensor more", "", [*right, right[0]], named


def _parameters(
    signature: Signature, right: dict[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield "an unknown parameter", "nothing", {**right, "nothing": 1}
    yield "a private name", "_type", {**right, "_type": 1}
    values: dict[str, list[Any]] = {
        "int": ["x", None, 2.5, True, [1], 1j, 2**63, -(2**63) - 1, float("nan"), b"1"],
        "float": ["0.5", None, True, [0.5], 1j, 10**400, b"1"],
        "bool": [0, 1, "true", None, 0.5],
    }
    for name, kind, default in signature.parameters:
        for value in values[kind]:
            yield f"{name} = {str(value)[:20]}", name, {**right, name: value}
        if name.isupper() and kind == "int":
            for value in (-1, 2**29, 2**40):
                yield f"{name} = {value}", name, {**right, name: value}
        if not default:
            yield f"{name} left out", name, {n: v for n, v in right.items() if n != name}
