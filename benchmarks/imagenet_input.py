"""The CPU time of reading an ImageNet-like training image: decode a JPEG of 500x375, random crop, resize to 224, mirror.

    python benchmarks/imagenet_input.py [--seconds 5]

Prints milliseconds of one core per image, and images per second and core. ImageNet's images have about 500x375 pixels and 110 kB.
CPU time is measured, so other processes on the machine matter little.
"""

import argparse
import io
import time

from PIL import Image
from sklearn.datasets import load_sample_image

from el_larq.data.augmentation import Augmentation
from el_larq.data.standard import STANDARD


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    seconds = parser.parse_args().seconds
    file = io.BytesIO()
    Image.fromarray(load_sample_image("china.jpg")).resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    how, augmentation = STANDARD["imagenet2012"].preprocessing(None), Augmentation(mirror=True, area=(0.08, 1.0))
    count, began = 0, time.process_time()
    while time.process_time() < began + seconds:
        augmentation.pixels(how.open("image.jpg", file.getvalue()), how, 0, count)
        count += 1
    each = (time.process_time() - began) / count
    print(f"JPEG of {len(file.getvalue()) / 1000:.0f} kB: {1000 * each:.2f} ms of a core per image, {1 / each:.0f} images a second")


if __name__ == "__main__":
    main()
