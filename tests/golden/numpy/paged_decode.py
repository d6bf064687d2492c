"""paged_decode: emitted by attnc 0.1.0.

The cascade as written, in NumPy; no optimising pass has touched it.

    cascade paged_decode(Q[B,H,E], K[P,R,J,E], V[P,R,J,F], page[B,C]: i32, length[B]: i32) -> O[B,H,F]:
        G = H // J
        S[b,h,c,r] = sum[e](Q[b,h,e] * K[page[b,c], r, h // G, e]) / sqrt(E) where c * R + r < length[b]
        O[b,h,f] = sum[c,r](exp(S[b,h,c,r] - max[c,r](S[b,h,c,r])) / sum[c,r](exp(S[b,h,c,r] - max[c,r](S[b,h,c,r])))
            * V[page[b,c], r, h // G, f])
"""

import math

import numpy as np

_KERNEL = "paged_decode"

__all__ = ["paged_decode"]


def paged_decode(Q, K, V, page, length):
    """O[B,H,F] from Q[B,H,E], K[P,R,J,E], V[P,R,J,F], page[B,C]: i32, length[B]: i32."""
    _sizes = {}
    Q = _tensor("Q", Q, ("B", "H", "E"), _FLOATS, _sizes)
    K = _tensor("K", K, ("P", "R", "J", "E"), _FLOATS, _sizes)
    V = _tensor("V", V, ("P", "R", "J", "F"), _FLOATS, _sizes)
    page = _tensor("page", page, ("B", "C"), ("int32",), _sizes)
    length = _tensor("length", length, ("B",), ("int32",), _sizes)
    _type = _common(Q=Q, K=K, V=V)
    _float = np.float64 if _type == "float64" else np.float32
    Q = Q.astype(_float, copy=False)
    K = K.astype(_float, copy=False)
    V = V.astype(_float, copy=False)
    B, H, E = map(np.int64, Q.shape)
    P, R, J, E = map(np.int64, K.shape)
    P, R, J, F = map(np.int64, V.shape)
    B, C = map(np.int64, page.shape)
    B, = map(np.int64, length.shape)
    with np.errstate(all="ignore"):
        # G = H // J
        G = H // J
        G = _value("G", G, J != 0)
        G = _size("G", G)
        h = np.arange(H)
        c = np.arange(C)
        r = np.arange(R)

        # S[b,h,c,r] = Q[b,h,e] * K[page[b,c], r, h // G, e] / sqrt(E) where c * R + r < length[b]
        _1 = h // G
        _2 = ((page >= 0) & (page < P))[:, None] & ((_1 >= 0) & (_1 < J))[:, None]
        _3 = _einsum("bhe,bcrhe->bhcr", Q, _take(_take(K, page, 0), _1, 3), here=_2, over="bhc")
        S = _3 / _float(np.sqrt(E))
        S_here = _2[..., None] & ((c * R)[:, None] + r < length[:, None, None])[:, None]

        # O[b,h,f] = softmax[c, r](S[b,h,c,r]) * V[page[b,c], r, h // G, f]
        _4 = S - np.max(np.where(S_here, S, -np.inf), axis=(2, 3), initial=-np.inf)[..., None, None]
        _5 = np.exp(_4)
        _6 = h // G
        _7 = S_here & (((page >= 0) & (page < P))[:, None] & ((_6 >= 0) & (_6 < J))[:, None])[...,
            None]
        O = _einsum("bhcr,bcrhf->bhf", _5 / np.sum(np.where(S_here, _5, 0), axis=(2, 3))[..., None,
            None], _take(_take(V, page, 0), _6, 3), here=_7, over="bhcr")
        O_here = np.any(_7, axis=(2, 3))

        return _store(O, (B, H, F), _type, 0, here=O_here[..., None] & (G != 0) & (E > 0))

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
