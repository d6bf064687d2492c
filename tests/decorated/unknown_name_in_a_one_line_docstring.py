import attnc


@attnc.kernel
def doubled(X: "N") -> "N":
    "return X[n] * oops"
