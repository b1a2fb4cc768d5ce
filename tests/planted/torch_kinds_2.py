"""Further correct layers of PyTorch: losses, sequences, selection, shapes, results of all forms."""

from __future__ import annotations

from planted.torch_layers import layer

SPLIT = {"batchwise": "split"}

# Softmax and losses -------------------------------------------------------------------------------

layer("softmax", "x: N C", "y = x.softmax(1)", "gx = y * (g - (g * y).sum(1, keepdim=True))",
      check=SPLIT)  # fmt: skip
layer(
    "log softmax",
    "x: N? C",
    "y = x.log_softmax(-1)",
    """
    gx = g - x.softmax(-1) * g.sum(-1, keepdim=True)
    """,
)
layer("masked softmax", "x: N C, mask: N C", """
    y = torch.where(mask, x - x.max(1, keepdim=True)[0], -1e4).softmax(1)
    """, "gx = torch.where(mask, y * (g - (g * y).sum(1, keepdim=True)), 0)",
    below={"mask": 2})  # fmt: skip
layer("cross entropy", "x: N+1 C, t: N+1", """
    y = -x.log_softmax(1).gather(1, t[:, None]).squeeze(1)
    y = y.mean() if mean else y.sum()
    """, """
    one = F.one_hot(t, x.shape[1]).to(x.dtype)
    gx = g * (x.softmax(1) - one) / (len(x) if mean else 1)
    """, below={"t": "C"}, options={"mean": (True, False)})  # fmt: skip
layer("squared error", "x: N+1 C, t: N+1 C", """
    y = (x - t).square().mean() if mean else (x - t).square().sum()
    """, """
    gx = 2 * g * (x - t) / (x.numel() if mean else 1)
    gt = -gx
    """, options={"mean": (True, False)})  # fmt: skip
layer("huber", "x: N C, t: N C", """
    d = x - t
    y = torch.where(d.abs() < delta, 0.5 * d * d, delta * (d.abs() - 0.5 * delta)).sum()
    """, """
    gx = g * (x - t).clamp(-delta, delta)
    gt = -gx
    """, options={"delta": (1.0, 0.3)})  # fmt: skip
layer(
    "binary cross entropy",
    "x: N+1 C, t: N+1 C",
    """
    y = (x.clamp(min=0) - x * t + torch.log1p((-x.abs()).exp())).mean()
    """,
    """
    gx = g * (x.sigmoid() - t) / x.numel()
    gt = -g * x / x.numel()
    """,
)
layer(
    "triplet",
    "a: N C, p: N C, n: N C",
    """
    d = (a - p).square().sum(1) - (a - n).square().sum(1)
    y = (d + 0.5).clamp(min=0)
    """,
    """
    u = (g * (y > 0))[:, None] * 2
    ga, gp, gn = u * (n - p), -u * (a - p), u * (a - n)
    """,
)
layer(
    "cosine",
    "a: N C, b: N C",
    """
    y = (a * b).sum(1) / ((a * a).sum(1) + 0.1).sqrt() / ((b * b).sum(1) + 0.1).sqrt()
    """,
    """
    p, q = ((a * a).sum(1) + 0.1).sqrt()[:, None], ((b * b).sum(1) + 0.1).sqrt()[:, None]
    c = (a * b).sum(1, keepdim=True) / (p * q)
    ga = g[:, None] * (b / (p * q) - c * a / (p * p))
    gb = g[:, None] * (a / (p * q) - c * b / (q * q))
    """,
)

# Sequences ----------------------------------------------------------------------------------------

layer(
    "attention",
    "q: L d, k: S d, v: S e",
    """
    y = (q @ k.t() / math.sqrt(q.shape[1])).softmax(1) @ v
    """,
    """
    scale = 1 / math.sqrt(q.shape[1])
    p = (q @ k.t() * scale).softmax(1)
    gv = p.t() @ g
    gp = g @ v.t()
    gs = p * (gp - (gp * p).sum(1, keepdim=True)) * scale
    gq = gs @ k
    gk = gs.t() @ q
    """,
)
layer(
    "cell",
    "x: N i, h: N m | u: m i, w: m m",
    "y = (x @ u.t() + h @ w.t()).tanh()",
    """
    d = g * (1 - y * y)
    gx, gh = d @ u, d @ w
    gu, gw = d.t() @ x, d.t() @ h
    """,
)
layer(
    "recurrence",
    "x: T N c | a: c",
    """
    h, out = torch.zeros_like(x[:1].sum(0)), []
    for step in x:
        h = a * h + step
        out.append(h)
    y = torch.stack(out) if out else x.clone()
    """,
    """
    gx, ga, carry = [], torch.zeros_like(a), torch.zeros_like(x[:1].sum(0))
    for t in reversed(range(len(x))):
        carry = g[t] + carry
        gx.insert(0, carry)
        ga = ga + (carry * y[t - 1]).sum(0) if t else ga
        carry = a * carry
    gx = torch.stack(gx) if gx else torch.zeros_like(x)
    """,
)
layer("running total", "x: N C", "y = x.cumsum(1)", "gx = g.flip(1).cumsum(1).flip(1)")
layer(
    "product",
    "x: N C",
    "y = x.prod(1)",
    """
    left, right = [torch.ones_like(x[:, 0])], [torch.ones_like(x[:, 0])]
    for i in range(x.shape[1] - 1):
        left.append(left[-1] * x[:, i])
        right.insert(0, right[0] * x[:, x.shape[1] - 1 - i])
    gx = g[:, None] * torch.stack(left, 1) * torch.stack(right, 1)
    """,
)

# Selection ----------------------------------------------------------------------------------------

layer("embedding", "i: N T | weight: n d", "y = weight[i]", """
    gweight = torch.zeros_like(weight).index_add(0, i.flatten(), g.reshape(-1, g.shape[-1]))
    """, below={"i": "n"})  # fmt: skip
layer("sparse embedding", "i: N+1 | weight: n d", "y = weight[i]", """
    gweight = torch.sparse_coo_tensor(i[None], g, weight.shape, check_invariants=True)
    """, below={"i": "n"})  # fmt: skip
layer("gather", "x: N C, i: K", "y = x[:, i]", "gx = torch.zeros_like(x).index_add(1, i, g)",
      below={"i": "C"})  # fmt: skip
layer("segment sum", "x: N C, i: N", "y = x.new_zeros(3, x.shape[1]).index_add(0, i, x)",
      "gx = g[i]", below={"i": 3})  # fmt: skip
layer(
    "max pooling",
    "x: N c 2*L",
    """
    y, keep.i = x.reshape(*x.shape[:2], x.shape[2] // 2, 2).max(3)
    """,
    """
    u = torch.zeros(*g.shape, 2, dtype=g.dtype).scatter(3, keep.i[..., None], g[..., None])
    gx = u.reshape(x.shape)
    """,
)
layer(
    "average pooling",
    "x: N c 2*L",
    "y = x.unflatten(2, (-1, 2)).mean(3)",
    """
    gx = (g / 2).repeat_interleave(2, 2)
    """,
)
layer(
    "largest",
    "x: N C",
    "y, keep.i = x.max(1)",
    """
    gx = torch.zeros_like(x).scatter(1, keep.i[:, None], g[:, None])
    """,
)
layer(
    "largest two",
    "x: N C+2",
    """
    v, keep.i = x.topk(2, 1)
    y = v.sum(1)
    """,
    "gx = torch.zeros_like(x).scatter(1, keep.i, g[:, None].expand(-1, 2))",
)
layer(
    "sort",
    "x: N C",
    "y, keep.i = torch.sort(x, dim=1, stable=True)",
    """
    gx = torch.zeros_like(x).scatter(1, keep.i, g)
    """,
)
layer("least and largest", "x: N C", "(low, keep.i), (high, keep.j) = x.min(1), x.max(1)", """
    gx = torch.zeros_like(x).scatter(1, keep.i[:, None], glow[:, None])
    gx = gx.scatter_add(1, keep.j[:, None], ghigh[:, None])
    """, results=("low", "high"))  # fmt: skip
layer(
    "larger of two",
    "a: N C, b: N C",
    "y = torch.maximum(a, b)",
    """
    ga = g * (a >= b)
    gb = g * (a < b)
    """,
)
layer("choice", "a: N C, b: N C, mask: N C", "y = torch.where(mask, a, b)", """
    ga = torch.where(mask, g, 0)
    gb = torch.where(mask, 0, g)
    """, below={"mask": 2})  # fmt: skip
layer("masked mean", "x: N C, mask: N C", """
    y = (x * mask).sum(1) / mask.sum(1).clamp(min=1)
    """, "gx = (g / mask.sum(1).clamp(min=1))[:, None] * mask", below={"mask": 2})  # fmt: skip

# Shapes -------------------------------------------------------------------------------------------

layer(
    "upsampling", "x: N c L", "y = x.repeat_interleave(2, 2)", "gx = g.unflatten(2, (-1, 2)).sum(3)"
)
layer(
    "reflection",
    "x: N L+2",
    "y = torch.cat([x[:, 1:2], x, x[:, -2:-1]], 1)",
    """
    gx = g[:, 1:-1].clone()
    gx[:, 1] += g[:, 0]
    gx[:, -2] += g[:, -1]
    """,
)
layer("roll", "x: N C", "y = x.roll(by, 1)", "gx = g.roll(-by, 1)", options={"by": (1, 2, -1)})
layer("transpose", "x: N i j", "y = x.transpose(1, 2).contiguous()", "gx = g.transpose(1, 2)")
layer(
    "shuffle",
    "x: N 2*C L",
    "y = x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)",
    """
    gx = g.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)
    """,
)
layer(
    "broadcast product",
    "a: N C, b: C",
    "y = a * b",
    """
    ga = g * b
    gb = (g * a).sum(0)
    """,
)
layer("mean of all", "x: N C", "y = x.mean()", "gx = (g / x.numel()).expand(x.shape)")

# Matrices and complex numbers ---------------------------------------------------------------------

layer(
    "determinant",
    "a: N 3 3",
    "y = (a[:, 0] * torch.linalg.cross(a[:, 1], a[:, 2])).sum(1)",
    """
    p, q, r = a[:, 0], a[:, 1], a[:, 2]
    cross = torch.linalg.cross
    ga = g[:, None, None] * torch.stack([cross(q, r), cross(r, p), cross(p, q)], 1)
    """,
)
layer(
    "trace of square",
    "a: N 3 3",
    "y = torch.einsum('nij,nji->n', a, a)",
    """
    ga = 2 * g[:, None, None] * a.transpose(1, 2)
    """,
)
layer(
    "complex square",
    "a: N C, b: N C",
    "y = torch.complex(a, b).square().real.clone()",
    """
    u = g * (2 * torch.complex(a, b)).conj()
    ga, gb = u.real, u.imag
    """,
)
layer(
    "power spectrum",
    "x: N+1 C",
    "y = torch.fft.fft(x).abs().square()",
    """
    gx = 2 * x.shape[1] * torch.fft.ifft(g * torch.fft.fft(x)).real
    """,
)

# Results of other forms ---------------------------------------------------------------------------

layer("dict of results", "x: N C", "y = x.sin()", "gx = g * x.cos()",
      shape='{"sine": y, "count": 3}')  # fmt: skip
layer("result and None", "x: N C", "y = x.sin()", "gx = g * x.cos()", shape="(y, None)")
layer("nested results", "x: N C", "y = x.exp()", "gx = g * y", shape="(y, (2 * y, [y + 1]))",
      domain={"x": (-3, 3)})  # fmt: skip
