import attnc


@attnc.kernel
def attention(Q: "B H M E", K: "B H N E", V: "B H N F") -> "B H M F":
    """
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h,n,e] / sqrt(E)
    return softmax[n](S[b,h,m,n]) * W[b,h,n,f]
    """
