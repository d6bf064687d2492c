"""normalised: emitted by attnc 0.1.0.

The cascade as written, in NumPy; no optimising pass has touched it.

    cascade normalised(
        Q[B,H,M,E],
        K[B,H,N,E],
        V[B,H,N,F],
        gain[H],
        bias[H],
        length[B]: i32,
        eps: float = 0.001,
    ) -> O[B,H,M,F]:
        S[b,h,m,n] = sum[e](Q[b,h,m,e] * K[b,h,n,e]) / sqrt(E) where n < length[b]
        X[b,h,m,n] = S[b,h,m,n] - mean[n](S[b,h,m,n])
        Z[b,h,m] = mean[n](X[b,h,m,n] ** 2)
        P[b,h,m,n] = gain[h] * X[b,h,m,n] / sqrt(Z[b,h,m] + eps) + bias[h]
        O[b,h,m,f] = sum[n](P[b,h,m,n] * V[b,h,n,f])
"""

import math

import numpy as np

_KERNEL = "normalised"

__all__ = ["normalised"]


def normalised(Q, K, V, gain, bias, length, *, eps=0.001):
    """O[B,H,M,F] from Q[B,H,M,E], K[B,H,N,E], V[B,H,N,F], gain[H], bias[H], length[B]: i32."""
    eps = _real("eps", eps)
    _sizes = {}
    Q = _tensor("Q", Q, ("B", "H", "M", "E"), _FLOATS, _sizes)
    K = _tensor("K", K, ("B", "H", "N", "E"), _FLOATS, _sizes)
    V = _tensor("V", V, ("B", "H", "N", "F"), _FLOATS, _sizes)
    gain = _tensor("gain", gain, ("H",), _FLOATS, _sizes)
    bias = _tensor("bias", bias, ("H",), _FLOATS, _sizes)
    length = _tensor("length", length, ("B",), ("int32",), _sizes)
    _type = _common(Q=Q, K=K, V=V, gain=gain, bias=bias)
    _float = np.float64 if _type == "float64" else np.float32
    Q = Q.astype(_float, copy=False)
    K = K.astype(_float, copy=False)
    V = V.astype(_float, copy=False)
    gain = gain.astype(_float, copy=False)
    bias = bias.astype(_float, copy=False)
    B, H, M, E = map(np.int64, Q.shape)
    B, H, N, E = map(np.int64, K.shape)
    B, H, N, F = map(np.int64, V.shape)
    H, = map(np.int64, gain.shape)
    H, = map(np.int64, bias.shape)
    B, = map(np.int64, length.shape)
    with np.errstate(all="ignore"):
        n = np.arange(N)

        # S[b,h,m,n] = Q[b,h,m,e] * K[b,h,n,e] / sqrt(E) where n < length[b]
        S = np.einsum("bhme,bhne->bhmn", Q, K) / _float(np.sqrt(E))
        S_here = n < length[:, None]

        # X[b,h,m,n] = S[b,h,m,n] - mean[n](S[b,h,m,n])
        X = S - _mean(S, S_here[:, None, None], (3,))[..., None]
        X_here = S_here

        # Z[b,h,m] = mean[n](X[b,h,m,n] ** 2)
        Z = _mean(X ** 2, X_here[:, None, None], (3,))
        Z_here = np.any(X_here, axis=1)

        # P[b,h,m,n] = gain[h] * X[b,h,m,n] / sqrt(Z[b,h,m] + eps) + bias[h]
        P = gain[:, None, None] * X / np.sqrt(Z + _float(eps))[..., None] + bias[:, None, None]
        P_here = X_here

        # O[b,h,m,f] = P[b,h,m,n] * V[b,h,n,f]
        O = _einsum("bhmn,bhnf->bhmf", P, V, here=P_here, over="bn")
        O_here = np.any(P_here, axis=1)

        return _store(O, (B, H, M, F), _type, 0, here=O_here[:, None, None, None] & (E > 0))

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


def _real(name, value):
    """A float parameter."""
    kind = type(value).__name__
    scalar = hasattr(value, "__float__") and getattr(value, "ndim", 0) == 0
    if not scalar or isinstance(value, (bool, np.bool_, np.complexfloating)):
        raise TypeError(f"{_KERNEL}: {name} must be a float, not {kind}")
    try:
        return np.float64(float(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{_KERNEL}: {name} is no float: {error}") from None


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


def _mean(x, here, axis):
    """The mean over the points where `here` holds."""
    x, here = np.broadcast_arrays(x, here)
    return np.sum(np.where(here, x, 0), axis=axis) / np.sum(here, axis=axis).astype(x.dtype)


def _store(x, shape, dtype, empty, here=True):
    """An output: absent points filled, broadcast to its shape, rounded to its element type."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu" and np.asarray(x).dtype != dtype:
        here = here & (x >= np.iinfo(dtype).min) & (x <= np.iinfo(dtype).max)
    out = np.empty(tuple(int(n) for n in shape), dtype)
    out[...] = np.where(here, x, empty).astype(dtype)
    return out
