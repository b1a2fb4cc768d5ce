from tapegrad.nn import mxnet as mx

# %% CosineScheduler PolyScheduler
rate = mx.lr_scheduler.CosineScheduler(max_update=100, base_lr=0.1)
[round(rate(n), 4) for n in (0, 25, 50, 100)]

# %% MultiFactorScheduler
rate = mx.lr_scheduler.MultiFactorScheduler(step=[10, 20], factor=0.5, base_lr=0.1)
[rate(n) for n in (1, 11, 21)]


# %% LRScheduler
class Halved(mx.lr_scheduler.LRScheduler):
    def __call__(self, num_update):
        if num_update < self.warmup_steps:
            return self.get_warmup_lr(num_update)
        return self.base_lr / 2


rate = Halved(base_lr=0.1, warmup_steps=5)
rate(1), rate(10)
