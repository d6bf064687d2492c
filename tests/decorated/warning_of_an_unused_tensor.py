import attnc


@attnc.kernel
def first(X: "B N", Y: "B N") -> "B N":
    """
    Z[b,n] = X[b,n]
    U[b,n] = Y[b,n]
    return Z[b,n]
    """
