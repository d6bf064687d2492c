import attnc


@attnc.kernel
def doubled(X: "B N") -> "B N":
    """
    return 2 * X[b,n] where n > 1
    """
