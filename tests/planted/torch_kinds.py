"""The correct layers of PyTorch whose faults stand in `torch_faults`: declarations only."""

from __future__ import annotations

from planted.torch_layers import layer

EVALUATE = {"batchwise": "evaluate"}
SPLIT = {"batchwise": "split"}

# Products and convolutions ------------------------------------------------------------------------

layer("linear", "x: N i | weight: o i, bias: o", "y = x @ weight.t() + bias", """
    gx = g @ weight
    gweight = g.t() @ x
    gbias = g.sum(0)
    """, check=SPLIT)  # fmt: skip
layer("bilinear", "a: N i, b: N j | weight: o i j",
    "y = torch.einsum('ni,oij,nj->no', a, weight, b)", """
    ga = torch.einsum('no,oij,nj->ni', g, weight, b)
    gb = torch.einsum('no,oij,ni->nj', g, weight, a)
    gweight = torch.einsum('no,ni,nj->oij', g, a, b)
    """)  # fmt: skip
layer(
    "batched product",
    "a: N i j, b: N j k",
    "y = a @ b",
    """
    ga = g @ b.transpose(1, 2)
    gb = a.transpose(1, 2) @ g
    """,
)
layer(
    "outer product",
    "a: N i, b: N j",
    "y = a[:, :, None] * b[:, None, :]",
    """
    ga = (g * b[:, None, :]).sum(2)
    gb = (g * a[:, :, None]).sum(1)
    """,
)
layer(
    "scale",
    "x: N c L | w: c",
    "y = x * w[:, None]",
    """
    gx = g * w[:, None]
    gw = (g * x).sum((0, 2))
    """,
)
layer(
    "offset",
    "x: N C | b: C",
    "y = x + b",
    """
    gx = g.clone()
    gb = g.sum(0)
    """,
)
layer(
    "sum of two",
    "a: N C, b: N C",
    "y = a + b",
    """
    ga = g.clone()
    gb = g.clone()
    """,
)
layer("convolution", "x: N c L+2 | weight: o c k, bias: o", """
    windows = x.unfold(2, k, stride)
    y = torch.einsum('ncmk,ock->nom', windows, weight) + bias[:, None]
    """, """
    gweight = torch.einsum('nom,ncmk->ock', g, x.unfold(2, k, stride))
    gbias = g.sum((0, 2))
    gx = torch.zeros_like(x)
    for m in range(g.shape[2]):
        gx[:, :, m * stride:m * stride + k] += torch.einsum('no,ock->nck', g[:, :, m], weight)
    """, sizes={"k": (1, 3)}, options={"stride": (1, 2)})  # fmt: skip
layer(
    "convolution 2d",
    "x: N c H W | weight: o c 3 3",
    "y = F.conv2d(x, weight, padding=1)",
    """
    gx = F.conv_transpose2d(g, weight, padding=1)
    windows = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)
    gweight = torch.einsum('nohw,nchwkl->ockl', g, windows)
    """,
)
layer(
    "weight normalization",
    "x: N i | v: o i, s: o",
    """
    y = x @ (s[:, None] * v / v.norm(dim=1, keepdim=True)).t()
    """,
    """
    size = v.norm(dim=1, keepdim=True)
    u = v / size
    gx = g @ (s[:, None] * u)
    gw = g.t() @ x
    gs = (gw * u).sum(1)
    gv = s[:, None] / size * (gw - u * (gw * u).sum(1, keepdim=True))
    """,
)

# Norms --------------------------------------------------------------------------------------------

layer("batch norm", "x: N+2 C | weight: C, bias: C", """
    if train:
        m, v = x.mean(0), x.var(0, unbiased=False)
        module.mean.mul_(0.9).add_(0.1 * m)
        module.var.mul_(0.9).add_(0.1 * v)
    else:
        m, v = module.mean.clone(), module.var.clone()
    keep.m, keep.v = m, v
    y = (x - m) * (v + 0.1).rsqrt() * weight + bias
    """, """
    if train:
        m, v = x.mean(0), x.var(0, unbiased=False)
    else:
        m, v = keep.m, keep.v
    s = (v + 0.1).rsqrt()
    xh = (x - m) * s
    gh = g * weight
    gx = s * (gh - gh.mean(0) - xh * (gh * xh).mean(0)) if train else s * gh
    gweight = (g * xh).sum(0)
    gbias = g.sum(0)
    """, check=EVALUATE, state="""
module.register_buffer("mean", torch.zeros(C))
module.register_buffer("var", torch.ones(C))
""")  # fmt: skip
layer("layer norm", "x: N C | weight: C, bias: C", """
    m, v = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    y = (x - m) * (v + 0.1).rsqrt() * weight + bias
    """, """
    m, v = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    s = (v + 0.1).rsqrt()
    xh = (x - m) * s
    gh = g * weight
    gx = s * (gh - gh.mean(1, keepdim=True) - xh * (gh * xh).mean(1, keepdim=True))
    gweight = (g * xh).sum(0)
    gbias = g.sum(0)
    """, check=SPLIT)  # fmt: skip
layer(
    "rms norm",
    "x: N C | weight: C",
    """
    y = x * (x.square().mean(1, keepdim=True) + 0.1).rsqrt() * weight
    """,
    """
    r = (x.square().mean(1, keepdim=True) + 0.1).rsqrt()
    gh = g * weight
    gx = r * (gh - x * r * r * (gh * x).mean(1, keepdim=True))
    gweight = (g * x * r).sum(0)
    """,
)
layer(
    "instance norm",
    "x: N c L+1",
    """
    m, v = x.mean(2, keepdim=True), x.var(2, unbiased=False, keepdim=True)
    y = (x - m) * (v + 0.1).rsqrt()
    """,
    """
    m, v = x.mean(2, keepdim=True), x.var(2, unbiased=False, keepdim=True)
    s = (v + 0.1).rsqrt()
    xh = (x - m) * s
    gx = s * (g - g.mean(2, keepdim=True) - xh * (g * xh).mean(2, keepdim=True))
    """,
)
layer(
    "normalize",
    "x: N C",
    "y = x / (x.square().sum(1, keepdim=True) + 0.1).sqrt()",
    """
    n = (x.square().sum(1, keepdim=True) + 0.1).sqrt()
    gx = g / n - x * (g * x).sum(1, keepdim=True) / n ** 3
    """,
)
layer(
    "variance",
    "x: N C+1",
    "y = x.var(1)",
    """
    gx = g[:, None] * 2 * (x - x.mean(1, keepdim=True)) / (x.shape[1] - 1)
    """,
)
layer(
    "deviation",
    "x: N C+1",
    "y = (x.var(1, unbiased=False) + 0.01).sqrt()",
    """
    gx = (g / y)[:, None] * (x - x.mean(1, keepdim=True)) / x.shape[1]
    """,
)

# Activations --------------------------------------------------------------------------------------

layer("relu", "x: N C", "y = x.clamp(min=0)", "gx = g * (x > 0)", check=SPLIT)
layer("leaky relu", "x: N C", "y = torch.where(x > 0, x, slope * x)", """
    gx = torch.where(x > 0, g, slope * g)
    """, options={"slope": (0.1, 0.3, -0.2)})  # fmt: skip
layer("elu", "x: N? C", "y = torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))", """
    gx = torch.where(x > 0, g, g * alpha * x.clamp(max=0).exp())
    """, options={"alpha": (1.0, 0.5, 2.0)})  # fmt: skip
layer(
    "gelu",
    "x: N C",
    "y = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))",
    """
    gx = g * (0.5 * (1 + torch.erf(x / math.sqrt(2)))
              + x * (-0.5 * x * x).exp() / math.sqrt(2 * math.pi))
    """,
)
layer(
    "silu",
    "x: N C L",
    "y = x * x.sigmoid()",
    """
    s = x.sigmoid()
    gx = g * s * (1 + x * (1 - s))
    """,
)
layer("softplus", "x: N C", "y = torch.logaddexp(x, torch.zeros_like(x))", "gx = g * x.sigmoid()")
layer("tanh", "x: N? C", "y = x.tanh()", "gx = g * (1 - y * y)")
layer("sigmoid", "x: N? C", "y = x.sigmoid()", "gx = g * y * (1 - y)")
layer("hardtanh", "x: N C", "y = x.clamp(-1, 1)", "gx = g * ((x > -1) & (x < 1))")
layer(
    "swish",
    "x: N C | beta: C",
    "y = x * (beta * x).sigmoid()",
    """
    s = (beta * x).sigmoid()
    gx = g * s * (1 + beta * x * (1 - s))
    gbeta = (g * x * x * s * (1 - s)).sum(0)
    """,
)
layer(
    "prelu",
    "x: N C | a: C",
    "y = torch.where(x > 0, x, a * x)",
    """
    gx = torch.where(x > 0, g, a * g)
    ga = torch.where(x > 0, 0, g * x).sum(0)
    """,
)
layer("gaussian", "x: N? C", "y = (-x * x).exp()", "gx = -2 * g * x * y")
layer(
    "window",
    "x: N C | mu: C",
    "y = (-0.5 * (x - mu).square()).exp()",
    """
    gx = -g * (x - mu) * y
    gmu = (g * (x - mu) * y).sum(0)
    """,
)
layer("lorentzian", "x: N C", "y = 1 / (1 + x * x)", "gx = -2 * g * x * y * y")
layer("arctangent", "x: N C", "y = x.atan()", "gx = g / (1 + x * x)")
layer("sine", "x: N? C", "y = x.sin()", "gx = g * x.cos()")
layer(
    "sinc",
    "x: N C",
    "y = torch.sinc(x)",
    """
    terms = [(-1) ** k * math.pi ** (2 * k) * 2 * k / math.factorial(2 * k + 1)
             * x ** (2 * k - 1) for k in range(1, 9)]
    far = torch.where(x.abs() > 0.2, x, 1)
    slope = ((math.pi * far).cos() - torch.sinc(far)) / far
    gx = g * torch.where(x.abs() > 0.2, slope, sum(terms))
    """,
)
layer("absolute value", "x: N C", "y = x.abs()", "gx = g * x.sign()")
layer("square", "x: N? C", "y = x * x", "gx = 2 * g * x")
layer("logarithm", "x: N C", "y = x.log()", "gx = g / x", domain={"x": (0, None)})
layer("root", "x: N C", "y = x.sqrt()", "gx = g / (2 * y)", domain={"x": (0.1, None)})
layer("quotient", "a: N C, b: N C", "y = a / b", """
    ga = g / b
    gb = -g * y / b
    """, domain={"b": (0.3, None)})  # fmt: skip
layer("cube of many", "x: N C L", "y = x ** 3", "gx = 3 * g * x * x")
layer("dropout", "x: N C", """
    keep.mask = (torch.rand(x.shape) > p).to(x.dtype) / (1 - p) if train else torch.ones_like(x)
    y = x * keep.mask
    """, "gx = g * keep.mask", options={"p": (0.5, 0.2)}, check=EVALUATE)  # fmt: skip
layer(
    "plain network",
    "x: N i | w: h i, v: o h",
    """
    h = torch.tanh(x @ w.t())
    y = h @ v.t()
    """,
)
layer(
    "plain normalization",
    "x: N C",
    """
    m = x.mean(1, keepdim=True)
    y = (x - m) / ((x - m).square().mean(1, keepdim=True) + 0.1).sqrt()
    """,
)
