import attnc


@attnc.kernel
def doubled(X: "B N") -> "B N":
    """# it\'s \N{GREEK SMALL LETTER ALPHA} \101
    Y[b,n] = 2 * X[b,n] + oops  # π
    return Y[b,n]
    """
