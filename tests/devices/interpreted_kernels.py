# mypy: ignore-errors
"""Kernels of the Triton backend called from Python, interpreted: prints what went well as JSON.

A process of its own, started with TRITON_INTERPRET=1, which is looked at when triton is imported.
"""

import json

import torch

import attnc
from attnc.python import build

WINDOW = """
cascade window(
    Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F], width: int = 3, sharp: float = 1.0
) -> O[B,H,M,F], L[B,H,M] empty -inf:
    G = H // J
    S[b,h,m,n] = sharp * Q[b,h,m,e] * K[b,h//G,n,e] / sqrt(E) where n <= m, m - n < width
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h//G,n,f]
    L[b,h,m]   = logsumexp[n](S[b,h,m,n])
"""
NAMES = """
cascade tl(torch[N], x[N], triton: int, x: float, k: bool = true) -> out[N]:
    out[n] = torch[n] * x + x[n] * triton if k else 0
"""


@attnc.kernel(backend="triton")
def decorated(X: "B N", by: float = 2.0) -> "B N":  # noqa: F722
    """return X[b,n] * by"""


def qkv(length=6):
    """Queries, keys and values; the keys are a view."""
    torch.manual_seed(length)
    k = torch.randn(2, length, 2, 8).transpose(1, 2)
    return torch.randn(2, 4, length, 8), k, torch.randn(2, 2, length, 5)


def close(a, b):
    """Whether the results of two kernels agree."""
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    return True


def explicit():
    """A kernel that shall be of Triton gives what NumPy gives."""
    ours, theirs = attnc.kernel(WINDOW, backend="triton"), attnc.kernel(WINDOW, backend="numpy")
    assert "tl.dot" in ours.source
    return close(ours(*qkv(), width=2), theirs(*qkv(), width=2))


def chosen():
    """Without a backend the device decides; here that of main memory is made one of Triton's."""
    kernel = attnc.kernel(WINDOW)
    expected = kernel(*qkv())
    calls = []
    built = kernel.with_backend("triton")._built
    function = built.function
    object.__setattr__(built, "function", lambda *a, **k: calls.append(1) or function(*a, **k))
    build.AT["cpu"] = "triton"
    try:
        return close(kernel(*qkv()), expected) and len(calls) == 1
    finally:
        build.AT["cpu"] = build.TVM


def names():
    """Parameters whose names a module has for something else."""
    ours, theirs = attnc.kernel(NAMES, backend="triton"), attnc.kernel(NAMES, backend="numpy")
    one = torch.arange(3.0)
    values = {"triton": 3}
    return close(ours(one, one + 1, x=2.0, **values), theirs(one, one + 1, x=2.0, **values))


def functions():
    """A decorated function, in and out of a graph."""
    x = torch.randn(2, 3)
    graph = torch.compile(lambda x: decorated(x, by=3.0) + 1, fullgraph=True, backend="eager")
    return close(decorated(x), x * 2) and close(graph(x), x * 3 + 1)


def rules():
    """PyTorch's own checks of an operator."""
    kernel = attnc.kernel(WINDOW, backend="triton")
    torch.library.opcheck(kernel.operator, (*qkv(), 2, 1.5))
    return True


def one_graph():
    """No break, and no second compilation for another length."""
    kernel, count = attnc.kernel(WINDOW, backend="triton"), []

    def counting(graph, _):
        count.append(graph)
        return graph.forward

    compiled = torch.compile(
        lambda *a: kernel(*a)[0] + 1, fullgraph=True, dynamic=True, backend=counting
    )
    same = all(close(compiled(*qkv(n)), kernel(*qkv(n))[0] + 1) for n in (6, 9, 20))
    return same and len(count) == 1


def exported():
    """`torch.export` keeps it as one operator."""

    class Layer(torch.nn.Module):
        def forward(self, q, k, v):
            return attnc.kernel(WINDOW, backend="triton")(q, k, v)[0] * 2

    sizes = {n: {2: torch.export.Dim.DYNAMIC} for n in "qkv"}
    program = torch.export.export(Layer(), qkv(), dynamic_shapes=sizes)
    return close(program.module()(*qkv(9)), Layer()(*qkv(9)))


def from_disk():
    """What is emitted is kept, and not compiled again."""
    for backend in ("triton", "numpy"):
        attnc.kernel(WINDOW, backend=backend)
    build.forget()
    check, attnc.api.check = attnc.api.check, None
    try:
        triton, numpy = (attnc.kernel(WINDOW, backend=b)(*qkv()) for b in ("triton", "numpy"))
        return close(triton, numpy)
    finally:
        attnc.api.check = check


if __name__ == "__main__":
    checks = (
        explicit,
        chosen,
        names,
        functions,
        rules,
        one_graph,
        exported,
        from_disk,
    )
    print(json.dumps({check.__name__: check() for check in checks}))
