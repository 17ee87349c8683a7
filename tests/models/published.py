"""Weights of the backbones, trainable and other, counted from the papers' tables."""

# Channels in and out of the blocks of MobileNetV1 up to stride 16 (its table 1): a
# depthwise 3x3 and a pointwise convolution, each with BatchNorm.
_BLOCKS = [(32, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)]
_BLOCKS += [(512, 512)] * 5
MOBILENET = (
    27 * 32 + 2 * 32 + sum(9 * i + 2 * i + i * o + 2 * o for i, o in _BLOCKS),
    2 * 32 + sum(2 * i + 2 * o for i, o in _BLOCKS),
)

# torchvision's count without the classifier, and its running means and variances.
RESNET18 = (11_689_512 - 513_000, 9_600)

# Channels at the insertion points, and the kernel that ECA, LLAM and IRAM have there.
MOBILENET_CHANNELS = (128, 256, 512, 512, 512, 512, 512)
RESNET18_CHANNELS = (64, 64, 128, 128, 256, 256, 512, 512)
KERNEL = {64: 3, 128: 5, 256: 5, 512: 5}
COSTS = {
    "none": lambda c: 0,
    "se": lambda c: 2 * c * (c // 16) + c // 16 + c,
    "eca": lambda c: KERNEL[c],
    "cbam": lambda c: 2 * c * (c // 16) + c // 16 + c + 7 * 7 * 2,
    "llam": lambda c: KERNEL[c] * 4,
    "iram": lambda c: KERNEL[c] * 4 + 7 * 7 * 4,
}


def scan(channels):
    """Spatio-channel attention: trainable and other weights."""
    return 9 * channels**2 + 3 * channels, 2 * channels
