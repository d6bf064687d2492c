import attnc


@attnc.kernel
def doubled(X, *, factor: "float" = 2.0) -> "B N":
    """return factor * X[b,n]"""
