import attnc


@attnc.kernel
def doubled(X: "B N") -> "B N":
    """
    return X[b,n]
    Y[b,n] = 2 * X[b,n]
    """
