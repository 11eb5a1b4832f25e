"""Data sets with preprocessing and augmentation that are standard in the literature. Does not import TensorFlow."""

from dataclasses import dataclass

from el_larq.data.preprocessing import Preprocessing


@dataclass(frozen=True)
class Standard:
    """mean, std: per channel over the training images, in units of the 8-bit range. test: the split used for reported results."""

    name: str
    summary: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    augment: str
    test: str = "test"
    crop: float = 1.0

    def preprocessing(self, image_size: int | None) -> Preprocessing:
        size = image_size or self.image_size
        return Preprocessing(size, size, 3, self.mean, self.std, self.crop)


STANDARD = {
    entry.name: entry
    for entry in (
        Standard(
            "cifar10",
            "60,000 photographs, 10 classes, 32x32; prepared by TFDS; padded by 4, cropped, mirrored",
            32,
            (125.3, 123.0, 113.9),
            (63.0, 62.1, 66.7),
            "shift-mirror",
        ),
        Standard(
            "cifar100",
            "60,000 photographs, 100 classes, 32x32; prepared by TFDS; padded by 4, cropped, mirrored",
            32,
            (129.3, 124.1, 112.4),
            (68.2, 65.4, 70.4),
            "shift-mirror",
        ),
        # "Resize to 256, centre crop of 224", with mean and std as in torchvision and most of the literature since.
        Standard(
            "imagenet2012",
            "1.3 million photographs, 1000 classes, 224x224; prepared by TFDS; random parts, mirrored",
            224,
            (123.675, 116.28, 103.53),
            (58.395, 57.12, 57.375),
            "imagenet",
            test="validation",
            crop=0.875,
        ),
    )
}
