import attnc


@attnc.kernel
def twice(X: "B N", *, b: int = 3) -> "B N":
    """
    Y[b,n] = X[b,n]
    return Y[b,n]
    """
