import attnc


@attnc.kernel
def outer(X: "N") -> "N N":
    """return X[n] * X[n]"""
