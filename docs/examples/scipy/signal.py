import numpy as np

from tapegrad.scipy import signal

# %% convolve correlate fftconvolve oaconvolve
signal.convolve(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))

# %% convolve2d correlate2d
signal.convolve2d(np.arange(9.0).reshape(3, 3), np.array([[1.0, -1.0]]), mode="valid")

# %% hilbert
np.abs(signal.hilbert(np.cos(np.linspace(0, 4 * np.pi, 8, endpoint=False))))

# %% sosfilt
sections = np.array([[0.5, 0.5, 0.0, 1.0, -0.2, 0.0]])
signal.sosfilt(sections, np.array([1.0, 0.0, 0.0, 0.0]))
