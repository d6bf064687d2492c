"""packed_offsets: emitted by attnc 0.1.0.

The cascade as written, in NumPy; no optimising pass has touched it.

    cascade packed_offsets(
        Q[M,H,E],
        K[N,J,E],
        V[N,J,F],
        segment[M]: i32,
        offset[S]: i32,
    ) -> O[M,H,F], L[M,H] empty -inf:
        G = H // J
        P[m,h,n] = sum[e](Q[m,h,e] * K[n, h // G, e]) / sqrt(E)
            where offset[segment[m]] <= n < offset[segment[m] + 1]
        O[m,h,f] = sum[n](exp(P[m,h,n] - max[n](P[m,h,n])) / sum[n](exp(P[m,h,n] - max[n](P[m,h,n]))) * V[n,
            h // G, f])
        L[m,h] = max[n](P[m,h,n]) + log(sum[n](exp(P[m,h,n] - max[n](P[m,h,n]))))
"""

import math

import numpy as np

_KERNEL = "packed_offsets"

__all__ = ["packed_offsets"]


def packed_offsets(Q, K, V, segment, offset):
    """O[M,H,F], L[M,H] from Q[M,H,E], K[N,J,E], V[N,J,F], segment[M]: i32, offset[S]: i32."""
    _sizes = {}
    Q = _tensor("Q", Q, ("M", "H", "E"), _FLOATS, _sizes)
    K = _tensor("K", K, ("N", "J", "E"), _FLOATS, _sizes)
    V = _tensor("V", V, ("N", "J", "F"), _FLOATS, _sizes)
    segment = _tensor("segment", segment, ("M",), ("int32",), _sizes)
    offset = _tensor("offset", offset, ("S",), ("int32",), _sizes)
    _type = _common(Q=Q, K=K, V=V)
    _float = np.float64 if _type == "float64" else np.float32
    Q = Q.astype(_float, copy=False)
    K = K.astype(_float, copy=False)
    V = V.astype(_float, copy=False)
    M, H, E = map(np.int64, Q.shape)
    N, J, E = map(np.int64, K.shape)
    N, J, F = map(np.int64, V.shape)
    M, = map(np.int64, segment.shape)
    S, = map(np.int64, offset.shape)
    with np.errstate(all="ignore"):
        # G = H // J
        G = H // J
        G = _value("G", G, J != 0)
        G = _size("G", G)
        h = np.arange(H)
        n = np.arange(N)

        # P[m,h,n] = Q[m,h,e] * K[n, h // G, e] / sqrt(E)
        #     where offset[segment[m]] <= n < offset[segment[m] + 1]
        _1 = h // G
        _2 = (_1 >= 0) & (_1 < J)
        _3 = segment + 1
        _4 = _take(offset, segment, 0)[:, None] <= n
        _5 = ((segment >= 0) & (segment < S))[:, None]
        _6 = n < _take(offset, _3, 0)[:, None]
        _7 = ((_3 >= 0) & (_3 < S))[:, None]
        _8 = _5 & _7 | _5 & ~_4 | _7 & ~_6
        P = _einsum("mhe,nhe->mhn", Q, _take(K, _1, 1), here=_2, over="h") / _float(np.sqrt(E))
        P_here = _2[:, None] & (((_4 | ~_5) & (_6 | ~_7)) & _8)[:, None]

        # O[m,h,f] = softmax[n](P[m,h,n]) * V[n, h // G, f]
        _9 = P - np.max(np.where(P_here, P, -np.inf), axis=2, initial=-np.inf)[..., None]
        _10 = np.exp(_9)
        _11 = h // G
        _12 = P_here & ((_11 >= 0) & (_11 < J))[:, None]
        O = _einsum("mhn,nhf->mhf", _10 / np.sum(np.where(P_here, _10, 0), axis=2)[..., None],
            _take(V, _11, 1), here=_12, over="mhn")
        O_here = np.any(_12, axis=2)

        # L[m,h] = logsumexp[n](P[m,h,n])
        _13 = np.max(np.where(P_here, P, -np.inf), axis=2, initial=-np.inf)
        _14 = np.any(P_here, axis=2)
        L = _13 + np.log(np.sum(np.where(P_here, np.exp(P - _13[..., None]), 0), axis=2))
        L_here = _14 & np.any(P_here, axis=2)

        _15 = _store(O, (M, H, F), _type, 0, here=O_here[..., None] & (G != 0) & (E > 0))
        _16 = _store(L, (M, H), _type, -np.inf, here=L_here & (G != 0) & (E > 0))
        return _15, _16

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


def _size(name, value):
    """An extent, which is never negative."""
    if value < 0:
        raise ValueError(f"{_KERNEL}: the extent {name} = {value} is negative")
    return np.int64(value)


def _value(name, value, present):
    """A binding, which must be present."""
    if not present:
        raise ValueError(
            f"{_KERNEL}: {name} is absent (a division by zero, or a cast out of range)"
        )
    return value


def _take(x, index, axis):
    """`x` at `index` along one axis; out of range is any value, for the caller to leave out."""
    size = x.shape[axis]
    if size == 0:
        return np.zeros(x.shape[:axis] + np.shape(index) + x.shape[axis + 1 :], x.dtype)
    return np.take(x, np.clip(index, 0, size - 1), axis=axis)


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
