from tapegrad import array_api as xp
from tapegrad.array_api import fft as transforms

x = xp.asarray([1.0, 2.0, 0.0, -1.0])

# %% fft ifft rfft hfft ihfft fftshift ifftshift
transforms.fft(x)

# %% irfft
transforms.irfft(transforms.rfft(x))

# %% fftn ifftn rfftn
transforms.fftn(xp.reshape(x, (2, 2)))

# %% irfftn
transforms.irfftn(transforms.rfftn(xp.reshape(x, (2, 2))))

# %% fftfreq rfftfreq
transforms.fftfreq(4, d=0.5)
