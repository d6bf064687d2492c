"""moa_heads: emitted by attnc 0.1.0.

The cascade as written, in NumPy; no optimising pass has touched it.

    cascade moa_heads(
        Q[B,H,M,E],
        K[B,H,N,E],
        V[B,H,N,F],
        window[H]: i32,
        sinks: int = 64,
    ) -> O[B,H,M,F]:
        S[b,h,m,n] = sum[e](Q[b,h,m,e] * K[b,h,n,e]) / sqrt(E)
            where n <= m, n < sinks or m - n < window[h]
        O[b,h,m,f] = sum[n](exp(S[b,h,m,n] - max[n](S[b,h,m,n])) / sum[n](exp(S[b,h,m,n] - max[n](S[b,h,m,n])))
            * V[b,h,n,f])
"""

import math

import numpy as np

_KERNEL = "moa_heads"

__all__ = ["moa_heads"]


def moa_heads(Q, K, V, window, *, sinks=64):
    """O[B,H,M,F] from Q[B,H,M,E], K[B,H,N,E], V[B,H,N,F], window[H]: i32."""
    sinks = _int("sinks", sinks)
    _sizes = {}
    Q = _tensor("Q", Q, ("B", "H", "M", "E"), _FLOATS, _sizes)
    K = _tensor("K", K, ("B", "H", "N", "E"), _FLOATS, _sizes)
    V = _tensor("V", V, ("B", "H", "N", "F"), _FLOATS, _sizes)
    window = _tensor("window", window, ("H",), ("int32",), _sizes)
    _type = _common(Q=Q, K=K, V=V)
    _float = np.float64 if _type == "float64" else np.float32
    Q = Q.astype(_float, copy=False)
    K = K.astype(_float, copy=False)
    V = V.astype(_float, copy=False)
    B, H, M, E = map(np.int64, Q.shape)
    B, H, N, E = map(np.int64, K.shape)
    B, H, N, F = map(np.int64, V.shape)
    H, = map(np.int64, window.shape)
    with np.errstate(all="ignore"):
        n = np.arange(N)
        m = np.arange(M)

        # S[b,h,m,n] = Q[b,h,m,e] * K[b,h,n,e] / sqrt(E) where n <= m, n < sinks or m - n < window[h]
        S = np.einsum("bhme,bhne->bhmn", Q, K) / _float(np.sqrt(E))
        S_here = (n <= m[:, None]) & ((n < sinks) | (m[:, None] - n < window[:, None, None]))

        # O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h,n,f]
        _1 = S - np.max(np.where(S_here, S, -np.inf), axis=3, initial=-np.inf)[..., None]
        _2 = np.exp(_1)
        O = _einsum("bhmn,bhnf->bhmf", _2 / np.sum(np.where(S_here, _2, 0), axis=3)[..., None], V,
            here=S_here, over="hmn")
        O_here = np.any(S_here, axis=2)

        return _store(O, (B, H, M, F), _type, 0, here=O_here[..., None] & (E > 0))

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _tensor(name, value, ranks, types, sizes):
    """`value` as an array, after its element type and its sizes are checked.

    `ranks` names its ranks or gives their sizes; `sizes` remembers each rank's size and tensor.
    """
    if not hasattr(value, "__array__"):
        raise TypeError(f"{_KERNEL}: {name} must be an array, not {type(value).__name__}")
    try:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{_KERNEL}: {name} does not convert to a NumPy array: {error}") from None
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    shown = f"{name}[{','.join(map(str, ranks))}]"
    if array.ndim != len(ranks):
        raise ValueError(f"{_KERNEL}: {shown} has {len(ranks)} ranks, not {array.ndim}")
    if array.dtype.name not in types:
        wanted = " or ".join(types)
        raise TypeError(f"{_KERNEL}: {name} must be {wanted}, not {array.dtype.name}")
    for rank, size in zip(ranks, array.shape):
        if isinstance(rank, int):
            known, where = rank, "its declaration"
        else:
            known, where = sizes.setdefault(rank, (size, name))
        if size != known:
            place = f"rank {rank} of {shown}" if isinstance(rank, str) else f"a rank of {shown}"
            raise ValueError(f"{_KERNEL}: {place} has size {size}, but {known} in {where}")
    return array


def _common(**tensors):
    """The one element type of the tensors that declare none."""
    (first, array), *rest = tensors.items()
    for name, other in rest:
        if other.dtype != array.dtype:
            raise TypeError(
                f"{_KERNEL}: {first} is {array.dtype.name} and {name} is {other.dtype.name}; "
                "tensors without an element type share one"
            )
    return array.dtype


def _int(name, value):
    """An int parameter."""
    kind = type(value).__name__
    try:
        number = None if isinstance(value, (bool, np.bool_)) else value.__index__()
    except (AttributeError, TypeError):
        number = None
    if number is None:
        raise TypeError(f"{_KERNEL}: {name} must be an int, not {kind}")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{_KERNEL}: {name} = {number} does not fit 64 bits")
    return np.int64(number)


def _einsum(subscripts, *operands, here, over):
    """np.einsum over the points where `here`, whose axes are `over`, holds.

    What lies at other points never enters, be it NaN or infinite.
    """
    inputs, output = subscripts.split("->")
    inputs = inputs.split(",")
    masked, covered = [], False
    for axes, x in zip(inputs, operands):
        away = tuple(i for i, a in enumerate(over) if a not in axes)
        shared = [a for a in over if a in axes]
        read = np.any(here, axis=away) if away else here
        read = np.transpose(read, sorted(range(len(shared)), key=lambda i: axes.index(shared[i])))
        shape = [n if a in shared else 1 for a, n in zip(axes, np.shape(x))]
        masked.append(np.where(np.reshape(read, shape), x, 0).astype(np.asarray(x).dtype))
        covered = covered or not away
    if all(np.all(np.isfinite(x)) for x in masked):
        if not covered:
            subscripts = f"{','.join(inputs)},{over}->{output}"
            masked.append(np.asarray(here, dtype=masked[0].dtype))
        return np.einsum(subscripts, *masked, optimize=True)
    return _exact_einsum(inputs, output, masked, here, over)


def _exact_einsum(inputs, output, operands, here, over):
    """The same product by product, in slices along the first axis of a large result."""
    sizes = {a: n for axes, x in zip(inputs, operands) for a, n in zip(axes, np.shape(x))}
    sizes |= {a: n for a, n in zip(over, np.shape(here)) if n != 1 or a not in sizes}
    if output and math.prod(sizes.values()) > 2**22:
        first, every = output[0], (*inputs, over)
        names = [axes.replace(first, "") for axes in every]
        slices = []
        for i in range(sizes[first]):
            parts = [
                np.take(x, i, axes.index(first)) if first in axes else x
                for axes, x in zip(every, (*operands, here))
            ]
            slices.append(_exact_einsum(names[:-1], output[1:], parts[:-1], parts[-1], names[-1]))
        return np.stack(slices)
    letters = output + "".join(a for a in sizes if a not in output)

    def spread(axes, x):
        x = np.transpose(x, sorted(range(len(axes)), key=lambda i: letters.index(axes[i])))
        return np.expand_dims(x, [i for i, a in enumerate(letters) if a not in axes])

    product = operands[0].dtype.type(1)
    for axes, x in zip(inputs, operands):
        product = product * spread(axes, x)
    product = np.where(spread(over, here), product, 0)
    return np.sum(product, axis=tuple(range(len(output), product.ndim)), dtype=operands[0].dtype)


def _store(x, shape, dtype, empty, here=True):
    """An output: absent points filled, broadcast to its shape, rounded to its element type."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu" and np.asarray(x).dtype != dtype:
        here = here & (x >= np.iinfo(dtype).min) & (x <= np.iinfo(dtype).max)
    out = np.empty(tuple(int(n) for n in shape), dtype)
    out[...] = np.where(here, x, empty).astype(dtype)
    return out
