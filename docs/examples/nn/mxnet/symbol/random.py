from tapegrad.nn import mxnet as mx

# %% normal uniform
draws = mx.sym.random.normal(0, 1, shape=(2, 3))
draws.eval(ctx=mx.cpu())[0]

# %% exponential poisson
draws = mx.sym.random.exponential(2.0, shape=(4,))
draws.eval(ctx=mx.cpu())[0]

# %% gamma
draws = mx.sym.random.gamma(2.0, 0.5, shape=(4,))
draws.eval(ctx=mx.cpu())[0]

# %% negative_binomial
draws = mx.sym.random.negative_binomial(3, 0.5, shape=(6,))
draws.eval(ctx=mx.cpu())[0]

# %% generalized_negative_binomial
draws = mx.sym.random.generalized_negative_binomial(2.0, 0.5, shape=(6,))
draws.eval(ctx=mx.cpu())[0]

# %% multinomial
draws = mx.sym.random.multinomial(mx.sym.Variable("p"), shape=(8,))
draws.eval(ctx=mx.cpu(), p=mx.nd.array([0.1, 0.0, 0.9]))[0]

# %% randint
draws = mx.sym.random.randint(0, 10, shape=(6,))
draws.eval(ctx=mx.cpu())[0]

# %% randn
draws = mx.sym.random.randn(2, 3)
draws.eval(ctx=mx.cpu())[0]

# %% shuffle
draws = mx.sym.random.shuffle(mx.sym.Variable("x"))
draws.eval(ctx=mx.cpu(), x=mx.nd.arange(5))[0]
