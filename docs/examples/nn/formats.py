from tapegrad import nn

# %% Limits
nn.save(nn.Linear(3, 2), "model.t7")
nn.formats.torch7.load("model.t7", limits=nn.formats.Limits(max_bytes=10_000))


# %% register_class
@nn.formats.register_class
class Doubling(nn.Module):
    def forward(self, x):
        return 2 * x


nn.save(nn.Sequential(Doubling()), "model.tg")
nn.load("model.tg")
