import numpy as np

import tapegrad as tg
from tapegrad.scipy import ndimage

image = np.zeros((3, 4))
image[1, 1] = 9.0

# %% convolve correlate
ndimage.convolve(image, np.array([[0.0, 1.0], [2.0, 3.0]]))

# %% convolve1d correlate1d
ndimage.convolve1d(image, np.array([1.0, 2.0, 3.0]), axis=1)

# %% gaussian_filter
ndimage.gaussian_filter(image, 0.5)

# %% uniform_filter uniform_filter1d
ndimage.uniform_filter(image, 3)

# %% laplace sobel
ndimage.laplace(image)

# %% map_coordinates
at = np.array([[1.0, 1.5], [1.0, 1.0]])  # two places, row by row
ndimage.map_coordinates(image, at, order=1)
tg.grad(lambda at: np.sum(ndimage.map_coordinates(image, at, order=1)))(at + 0.25)
