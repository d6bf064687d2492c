import attnc


@attnc.kernel
def doubled(X: "B N") -> "B N":
    "# a tab \t and \x41 \u00e9\n"  "\n" \
    "return 2 * X[b,n] + oops"
