from tapegrad.nn import mxnet as mx

# %% normal uniform
mx.nd.random.normal(0, 1, shape=(2, 3))

# %% exponential poisson
mx.nd.random.exponential(2.0, shape=(4,))

# %% gamma
mx.nd.random.gamma(2.0, 0.5, shape=(4,))

# %% negative_binomial
mx.nd.random.negative_binomial(3, 0.5, shape=(6,))

# %% generalized_negative_binomial
mx.nd.random.generalized_negative_binomial(2.0, 0.5, shape=(6,))

# %% multinomial
mx.nd.random.multinomial(mx.nd.array([0.1, 0.0, 0.9]), shape=(8,))

# %% randint
mx.nd.random.randint(0, 10, shape=(6,))

# %% randn
mx.nd.random.randn(2, 3)

# %% shuffle
mx.nd.random.shuffle(mx.nd.arange(5))
