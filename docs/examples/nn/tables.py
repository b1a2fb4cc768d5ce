from tapegrad import nn

# %% full
nn.tables.full(2, 2)

# %% oneToOne
nn.tables.oneToOne(3)

# %% random
nn.tables.random(3, 2, 2)
