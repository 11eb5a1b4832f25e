import numpy as np
import pytest

from el_larq.data.channel_statistics import ChannelStatistics


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_are_those_of_all_pixels(channels: int) -> None:
    """Of images of several sizes, as NumPy computes them over all pixels at once."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (height, 7, channels)).astype(np.uint8) for height in (1, 5, 30)]
    statistics = ChannelStatistics(channels)
    for image in images:
        statistics.add(image)
    pixels = np.concatenate([image.reshape(-1, channels) for image in images]).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, pixels.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(statistics.std, pixels.std(axis=0), rtol=1e-13)
