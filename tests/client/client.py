"""What a user's program does with attnc, for type checkers in their strict modes."""

from pathlib import Path
from typing import Annotated, Any, assert_type

import numpy as np
import torch
from torch import Tensor

import attnc
from attnc.errors import Note, Source, Span
from attnc.integrations.transformers import register
from attnc.python.explained import Explanation
from attnc.python.signature import Signature

Queries = Annotated[Tensor, "B H M E"]


@attnc.kernel
def attention(
    Q: Queries,
    K: Annotated[Tensor, "B J N E"],
    V: Annotated[Tensor, "B J N F"],
    *,
    window: int = 4096,
) -> Annotated[Tensor, "B H M F"]:
    """
    G = H // J
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h//G,n,e] / sqrt(E) where n <= m, m - n < window
    return softmax[n](S[b,h,m,n]) * V[b,h//G,n,f]
    """
    raise NotImplementedError


class Layer:
    """Kernels as methods."""

    @attnc.kernel
    def attend(self, X: Annotated[Tensor, "B N"], *, by: int = 1) -> Annotated[Tensor, "B N"]:
        """return X[b,n] + by"""
        raise NotImplementedError

    @attnc.kernel(static={"by": 2}, dtype="f32")
    def two(
        self, X: Annotated[Tensor, "B N"], *, by: int
    ) -> tuple[Annotated[Tensor, "B N"], Annotated[Tensor, "B"]]:
        """return X[b,n] + by, X[b,0]"""
        raise NotImplementedError


def calls(spec: Path) -> None:
    """Results have the types of the annotations; wrong calls are errors."""
    x = torch.ones(2, 3)
    assert_type(attention(x, x, x, window=3), Tensor)
    assert_type(Layer().attend(x, by=3), Tensor)
    assert_type(Layer.attend(Layer(), x), Tensor)
    first, second = Layer().two(x, by=2)
    assert_type((first, second), tuple[Tensor, Tensor])
    attention(x, x)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    attention(x, x, x, window="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    made = attnc.kernel(spec, cascade="a", backend="numpy", dtype="f32", static={"R": 64})
    assert_type(made, attnc.Kernel[..., Any])
    assert_type(made(np.ones(3), 3, window=3), Any)


def shows(kernel: attnc.Kernel[..., Tensor]) -> None:
    """What a kernel shows of itself."""
    assert_type(kernel.name, str)
    assert_type(kernel.spec, str)
    assert_type(kernel.source, str)
    assert_type(kernel.signature, Signature)
    assert_type(kernel.explain, Explanation)
    assert_type(kernel.explain(M=3, dtype="f16")["written"], object)
    register("mine", kernel)


def compiles(text: str) -> str:
    """The functions, and what they raise."""
    try:
        checked = attnc.check(text, "spec.attn")
    except attnc.SpecError as error:
        assert_type(error.diagnostics, tuple[attnc.Diagnostic, ...])
        source: Source = error.diagnostics[0].source
        place: Span = error.diagnostics[0].span
        notes: tuple[Note, ...] = error.diagnostics[0].notes
        return f"{source.position(place.start)} {notes}"
    assert_type(checked, attnc.Checked)
    assert_type(attnc.explain(checked.select("a"), {"N": 3}, "f32"), dict[str, object])
    return attnc.compile(text, cascade="a", static={"R": 1, "x": 1.5, "y": True})
