import attnc


@attnc.kernel
def doubled(X: "B N") -> "B N":
    """
    Y[b,n] = 2 * X[b,n]
    def twice(x) = 2 * x
    return Y[b,n]
    """
