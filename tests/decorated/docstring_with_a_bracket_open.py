import attnc


@attnc.kernel
def doubled(X: "B N") -> "B N":
    """
    Y[b,n] = 2 * (X[b,n]
    return Y[b,n]
    """
