import numpy as np

from tapegrad import nn
from tapegrad.nn import data
from tapegrad.optim.bigdl import Top1Accuracy

pixels = (np.arange(72) * 37 % 256).astype(np.uint8).reshape(4, 6, 3)  # blue, green, red
image = data.ImageFeature(pixels)

# %% Brightness
step = data.Brightness(10, 30)
step.transform(image)["mat"][0, :2], pixels[0, :2]

# %% Contrast Saturation
step = data.Contrast(0.5, 1.5)
step.transform(image)["mat"][1, :2], pixels[1, :2]

# %% Hue
step = data.Hue(-20, 20)
step.transform(image)["mat"][1, :2], pixels[1, :2]

# %% ChannelOrder
data.ChannelOrder().transform(image)["mat"][0, :2], pixels[0, :2]

# %% ChannelScaledNormalizer
step = data.ChannelScaledNormalizer(2, 1, 0, scale=0.5)
step.transform(image)["mat"][0, :2]

# %% PixelNormalizer
means = np.full(pixels.size, 10.0)
data.PixelNormalizer(means).transform(image)["mat"][0, :2]

# %% bgr_to_hsv
blue = np.array([[[255, 0, 0]]], np.uint8)
data.bgr_to_hsv(blue)

# %% hsv_to_bgr
data.hsv_to_bgr(np.array([[[120, 255, 255]]], np.uint8))

# %% MatToFloats
floats = data.MatToFloats(4, 6).transform(image)["floats"]
floats.shape, floats.dtype

# %% PixelBytesToMat
raw = data.ImageFeature()
raw["bytes"], raw["originalSize"] = pixels.tobytes(), (4, 6, 3)
data.PixelBytesToMat().transform(raw)["mat"].shape

# %% FixedCrop
data.FixedCrop(0, 0, 0.5, 0.5).transform(image)["mat"].shape

# %% DetectionCrop
image["found"] = np.array([[1, 0.9, 0.0, 0.5, 0.5, 1.0]])  # class, score, x1, y1, x2, y2
data.DetectionCrop("found").transform(image)["mat"].shape

# %% RandomAlterAspect
data.RandomAlterAspect(cropLength=3).transform(image)["mat"].shape

# %% RandomCropper
cut = data.RandomCropper(3, 2, mirror=True).transform(image)["mat"]
cut.shape, cut.dtype

# %% RandomSampler
boxes = np.array([[0.1, 0.1, 0.6, 0.7]], np.float32)
seen = data.ImageFeature(pixels, label=data.RoiLabel([1], boxes, normalized=True))
part = data.RandomSampler().transform(seen)
part["mat"].shape, part["label"].bboxes

# %% AspectScale ScaleResize
data.AspectScale(8).transform(image)["mat"].shape

# %% RandomAspectScale
data.RandomAspectScale([8, 12]).transform(image)["mat"].shape

# %% RandomResize
data.RandomResize(4, 8).transform(image)["mat"].shape

# %% Expand
larger = data.Expand(minExpandRatio=2.0, maxExpandRatio=2.0).transform(image)
larger["mat"].shape, larger["boundingBox"]

# %% FixExpand
data.FixExpand(6, 8).transform(image)["mat"].shape

# %% Filler
data.Filler(0.0, 0.0, 0.5, 0.5, value=255).transform(image)["mat"][:, :, 0]

# %% RoiNormalize
boxes = np.array([[0.0, 1.0, 3.0, 3.0]], np.float32)  # pixels: x1, y1, x2, y2
seen = data.ImageFeature(pixels, label=data.RoiLabel([1], boxes))
data.RoiNormalize().transform(seen)["label"].bboxes

# %% RoiHFlip
boxes = np.array([[0.0, 0.25, 0.5, 0.75]], np.float32)
seen = data.ImageFeature(pixels, label=data.RoiLabel([1], boxes, normalized=True))
data.RoiHFlip().transform(seen)["label"].bboxes

# %% RoiResize
boxes = np.array([[0.0, 1.0, 3.0, 3.0]], np.float32)
seen = data.ImageFeature(pixels, label=data.RoiLabel([1], boxes))
(data.Resize(8, 12) >> data.RoiResize()).transform(seen)["label"].bboxes

# %% RoiProject
boxes = np.array([[0.0, 0.0, 1.0, 1.0], [2.0, 1.0, 4.0, 3.0]], np.float32)
seen = data.ImageFeature(pixels, label=data.RoiLabel([1, 2], boxes))
steps = data.CenterCrop(4, 3) >> data.RoiProject()
steps.transform(seen)["label"].bboxes

# %% PipelinePicture picture_pipeline
steps = data.Resize(8, 12) >> data.HFlip()
picture = data.picture_pipeline(steps, image)
type(picture).__name__, [(name, feature.getSize()) for name, feature in picture.steps]

# %% FeaturePipeline
steps = data.Resize(8, 12) >> data.HFlip()
type(steps).__name__
data.FeaturePipeline([data.Resize(8, 12), data.HFlip()]).transform(image)["mat"].shape


# %% FeatureTransformer
class Negative(data.FeatureTransformer):
    def transformMat(self, feature):
        feature["mat"] = 255 - feature["mat"]


Negative().transform(image)["mat"][0, 0], pixels[0, 0]

# %% LocalImageFrame
frame = data.LocalImageFrame([image, data.ImageFeature(pixels)])
[feature.getSize() for feature in frame.transform(data.Resize(8, 8))]

# %% MTImageFeatureToBatch
frame = data.LocalImageFrame([data.ImageFeature(pixels, label=n) for n in range(3)])
batches = frame >> data.MTImageFeatureToBatch(6, 4, 2, data.HFlip())
[(batch[0].shape, batch[1]) for batch in batches]

# %% evaluate_image
steps = data.MatToTensor() >> data.ImageFrameToSample(targetKeys=["label"])
frame = data.LocalImageFrame([data.ImageFeature(pixels, label=n % 2) for n in range(4)]) >> steps
model = nn.Sequential(nn.View(72), nn.Linear(72, 2))
data.evaluate_image(model, frame, Top1Accuracy())[0][0].result()[1]


# %% Transformer
class Pairs(data.Transformer):
    def apply(self, items):
        for item in items:
            yield item, next(items)


list(Pairs()(iter("abcd")))

# %% ChainedTransformer
steps = data.ChainedTransformer(data.Each(abs), data.Each(lambda n: n * n))
list(steps([-2, 3]))

# %% Each
list(data.Each(lambda n: n * n)([1, 2, 3]))

# %% as_transformer
steps = data.as_transformer(abs) >> data.Each(lambda n: n * n)
list(steps([-2, 3]))

# %% draw_from
draws = data.Brightness(0, 100)
with data.draw_from(7):
    first = draws.transform(data.ImageFeature(pixels))["mat"]
with data.draw_from(7):
    again = draws.transform(data.ImageFeature(pixels))["mat"]
np.array_equal(first, again)


# %% DataBackend Job register_backend
class Telling:
    """A back end that says what it runs: one partition here, the data as it is."""

    def accepts(self, samples):
        return False

    def map(self, job: data.Job, samples):
        print(job.place, "in batches of", job.batch_size)
        return job.function(samples)

    def reduce(self, job, samples, combine):
        raise NotImplementedError


backend: data.DataBackend = Telling()
data.register_backend("telling", backend)
x = np.ones((4, 3), np.float32)
found = data.predict(nn.Linear(3, 2), x, 2, backend="telling")

# %% LocalDataSet
samples = data.LocalDataSet([data.Sample(np.array([n, n]), n % 2) for n in range(5)])
batches = samples >> data.SampleToMiniBatch(2)
[batch[0].shape for batch in batches.data(train=False)]

# %% MiniBatch
batch = data.MiniBatch(np.arange(6).reshape(3, 2), np.array([0, 1, 0]))
x, target = batch
batch.size(), batch.slice(1, 2)[0]

# %% DefaultPadding
samples = [data.Sample(np.ones(2), 0), data.Sample(np.ones(4), 1)]
padding = data.PaddingParam(paddingStrategy=data.DefaultPadding())
next(iter(data.SampleToMiniBatch(2, featurePaddingParam=padding)(samples)))[0]

# %% PaddingLongest
samples = [data.Sample(np.ones(2), 0), data.Sample(np.ones(4), 1)]
padding = data.PaddingParam(paddingStrategy=data.PaddingLongest([1]))
next(iter(data.SampleToMiniBatch(2, featurePaddingParam=padding)(samples)))[0]
