"""The settings that the projects of radiographs share."""

from __future__ import annotations

from dataclasses import dataclass

from common.base.settings import SharedTrain, choice, require

BACKBONES = {
    "resnet50": "A ResNet50 (He et al. 2016)",
    "densenet121": "A DenseNet121 (Huang et al. 2017)",
    "efficientnetv2b0": "An EfficientNetV2-B0 (Tan and Le 2021)",
    "mobilenetv3large": "A MobileNetV3-Large (Howard et al. 2019)",
}
"""By the names in `common.models.backbones.BACKBONES`, which needs Keras, as a text calls them."""


@dataclass(frozen=True)
class SharedFilmTrain(SharedTrain):
    """The settings of every train.py for radiographs."""

    backbone: str = choice("resnet50", BACKBONES)
    """The network under the head, of keras.applications: resnet50 (23.6 million weights),
    densenet121 (7.0), efficientnetv2b0 (5.9) or mobilenetv3large (3.0)."""
    standardise: bool = True
    """Bring every film to mean 0 and the same standard deviation inside the model, so that
    exposure and contrast do not matter. Off: subtract ImageNet's means, as its weights require."""
    stochastic_depth: float = 0.0
    """Share of the images for which training leaves out the last residual block, and earlier ones
    less often (Huang et al. 2016). 0: none."""
    blur: float = 0.0
    """Online augmentation: standard deviation of the widest Gaussian blur, as a share of the side;
    0.01 is a pixel of 100."""
    noise: float = 0.0
    """Online augmentation: standard deviation of noise, as a share of the value range."""
    jpeg_quality: int = 0
    """Online augmentation: lowest quality, 1 to 100, at which the model's input is stored as a JPEG
    and read again. 0: it is not."""

    def __post_init__(self) -> None:
        """Refuse values that no training can use."""
        super().__post_init__()
        below = "0 or more and below 1"
        require(0 <= self.stochastic_depth < 1, "stochastic_depth", below, self)
        has_blocks = self.backbone != "densenet121"
        need = "0: densenet121 has no residual blocks to leave out"
        require(has_blocks or not self.stochastic_depth, "stochastic_depth", need, self)
        require(0 <= self.blur <= 0.1, "blur", "0 to 0.1", self)
        require(0 <= self.noise <= 1, "noise", "0 to 1", self)
        require(0 <= self.jpeg_quality <= 100, "jpeg_quality", "0 to 100", self)
        can = self.augment == "host" or not self.jpeg_quality
        require(can, "augment", "host with --jpeg-quality: no device stores a JPEG", self)
