from tapegrad import nn

layer = nn.Linear(3, 2)

# %% bound
nn.init.bound(fan_in=16, stdv=None), nn.init.bound(fan_in=16, stdv=0.1)

# %% calculate_gain
nn.init.calculate_gain("relu"), nn.init.calculate_gain("leaky_relu", 0.1)

# %% eye_ xavier_uniform_ xavier_normal_ kaiming_uniform_ orthogonal_
nn.init.eye_(layer.weight)
layer.weight

# %% normal_ uniform_
nn.init.normal_(layer.bias, 0.0, 0.1)
layer.bias
