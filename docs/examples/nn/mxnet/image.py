import numpy as np

from tapegrad.nn import mxnet as mx
from tapegrad.nn.formats import mxnet as files

picture = mx.nd.array(np.arange(72).reshape(4, 6, 3), dtype="uint8")
boxes = np.array([[0, 0.1, 0.2, 0.5, 0.7]])  # class, left, top, right, bottom

# %% center_crop random_crop
crop, place = mx.image.center_crop(picture, (2, 2))
crop.shape, place

# %% random_size_crop
crop, place = mx.image.random_size_crop(picture, (2, 2), area=0.5, ratio=(0.75, 1.33))
crop.shape, place

# %% fixed_crop
mx.image.fixed_crop(picture, x0=1, y0=1, w=3, h=2).shape

# %% color_normalize
mx.image.color_normalize(picture, mean=(30, 31, 32), std=10.0)[0, 0]

# %% copyMakeBorder
mx.image.copyMakeBorder(picture, 1, 1, 2, 2, values=255).shape

# %% imdecode
file = files.encode_image(picture.asnumpy(), ending=".png")
mx.image.imdecode(file).shape, mx.image.imdecode(file, flag=0).shape

# %% imread
from pathlib import Path

_ = Path("picture.png").write_bytes(files.encode_image(picture.asnumpy(), ending=".png"))
mx.image.imread("picture.png").shape

# %% imresize
mx.image.imresize(picture, 3, 2).shape

# %% resize_short
mx.image.resize_short(picture, 2).shape

# %% scale_down
mx.image.scale_down((640, 480), (720, 120))

# %% CenterCropAug RandomCropAug ForceResizeAug
step = mx.image.CenterCropAug((2, 3))
step(picture).shape

# %% ResizeAug
step = mx.image.ResizeAug(2)
step(picture).shape

# %% RandomSizedCropAug
step = mx.image.RandomSizedCropAug((2, 2), area=0.5, ratio=(0.75, 1.33))
step(picture).shape

# %% BrightnessJitterAug ContrastJitterAug SaturationJitterAug HueJitterAug
step = mx.image.BrightnessJitterAug(0.5)
picture[1, 1].asnumpy(), step(picture.astype("float32"))[1, 1].asnumpy()

# %% ColorJitterAug
step = mx.image.ColorJitterAug(brightness=0.2, contrast=0.2, saturation=0.2)
picture[1, 1].asnumpy(), step(picture.astype("float32"))[1, 1].asnumpy()

# %% LightingAug
step = mx.image.LightingAug(0.1, eigval=[55.46, 4.794, 1.148], eigvec=np.eye(3))
picture[1, 1].asnumpy(), step(picture.astype("float32"))[1, 1].asnumpy()

# %% CastAug
picture.dtype, mx.image.CastAug("float32")(picture).dtype

# %% ColorNormalizeAug
step = mx.image.ColorNormalizeAug(mean=mx.nd.array([30, 31, 32]), std=mx.nd.array([10, 10, 10]))
step(picture.astype("float32"))[0, 0].asnumpy()

# %% HorizontalFlipAug
step = mx.image.HorizontalFlipAug(p=1.0)
picture[0, 0].asnumpy(), step(picture)[0, -1].asnumpy()

# %% RandomGrayAug
step = mx.image.RandomGrayAug(p=1.0)
step(picture.astype("float32"))[1, 1].asnumpy()

# %% SequentialAug RandomOrderAug
steps = mx.image.SequentialAug([mx.image.ResizeAug(3), mx.image.CenterCropAug((2, 2))])
steps(picture).shape

# %% CreateAugmenter
steps = mx.image.CreateAugmenter((3, 2, 2), rand_mirror=True, mean=True, std=True)
[type(step).__name__ for step in steps]


# %% Augmenter
class Negative(mx.image.Augmenter):
    def __call__(self, src):
        return 255 - src


Negative()(picture)[0, 0]

# %% DetHorizontalFlipAug
step = mx.image.DetHorizontalFlipAug(p=1.0)
mirrored, labels = step(picture, boxes)
labels

# %% DetRandomCropAug
step = mx.image.DetRandomCropAug(min_object_covered=0.2, area_range=(0.3, 0.9))
crop, labels = step(picture, boxes)
crop.shape, labels

# %% DetRandomPadAug
step = mx.image.DetRandomPadAug(area_range=(1.5, 3.0))
padded, labels = step(picture, boxes)
padded.shape, labels

# %% DetBorrowAug
step = mx.image.DetBorrowAug(mx.image.CastAug("float32"))
cast, labels = step(picture, boxes)
cast.dtype, labels

# %% DetRandomSelectAug
flip = mx.image.DetHorizontalFlipAug(p=1.0)
step = mx.image.DetRandomSelectAug([flip, mx.image.DetRandomPadAug()], skip_prob=0.5)
found, labels = step(picture, boxes)
found.shape, labels

# %% CreateDetAugmenter
steps = mx.image.CreateDetAugmenter((3, 4, 4), rand_crop=0.5, rand_mirror=True)
[type(step).__name__ for step in steps]

# %% CreateMultiRandCropAugmenter
step = mx.image.CreateMultiRandCropAugmenter(min_object_covered=[0.1, 0.5, 0.9])
[crop.min_object_covered for crop in step.aug_list]


# %% DetAugmenter
class UpsideDown(mx.image.DetAugmenter):
    def __call__(self, src, label):
        label = label.copy()
        label[:, [2, 4]] = 1 - label[:, [4, 2]]
        return src[::-1], label


UpsideDown()(picture, boxes)[1]

# %% ImageIter
from pathlib import Path

_ = Path("a.png").write_bytes(files.encode_image(picture.asnumpy(), ending=".png"))
batches = mx.image.ImageIter(2, (3, 4, 4), imglist=[[0, "a.png"], [1, "a.png"]], path_root=".")
batch = next(batches)
batch.data[0].shape, batch.label[0].asnumpy()

# %% ImageDetIter
from pathlib import Path

_ = Path("a.png").write_bytes(files.encode_image(picture.asnumpy(), ending=".png"))
listed = [[[2, 5, 0, 0.1, 0.2, 0.5, 0.8], "a.png"]]  # the numbers in front of the objects; objects
batches = mx.image.ImageDetIter(1, (3, 4, 4), imglist=listed, path_root=".")
batch = next(batches)
batch.data[0].shape, batch.label[0].asnumpy()
