"""The weights files that Larq Zoo publishes: release, name and SHA-256 of each. Does not import TensorFlow.

All are as in the sources of larq/zoo 2.3.3 (commit 77c5853), whose networks' functions download them with these SHA-256
(``file_hash``). They are HDF5 files of Keras 2 (``save_weights``) in 32-bit numbers, with the real-valued kernels that training
updates. Licence of the repository and its releases: Apache-2.0.
"""

from dataclasses import dataclass

from el_larq.downloads.asset import Asset
from el_larq.models.zoo.zoo_registry import get_zoo_network

RELEASES = "https://github.com/larq/zoo/releases/download"

LICENCE = "Apache-2.0"

SOURCE = "larq/zoo 2.3.3"

_SPARE = 16 * 2**20
"""Bytes that a file may have in addition to its weights, for names and HDF5's own structures."""


@dataclass(frozen=True)
class _Pair:
    """The files of a network with and without the classifier, STEM.h5 and STEM_notop.h5: their releases and SHA-256."""

    stem: str
    releases: tuple[str, str]
    sha256: tuple[str, str]


_FILES = {
    "quicknet_small": _Pair(
        "quicknet_small_weights",
        ("quicknet-v1.0", "quicknet-v1.0"),
        (
            "1ac3b07df7f5a911dd0b49febb2486428ddf1ca130297c403815dfae5a1c71a2",
            "be8ba657155846be355c5580d1ea56eaf8282616de065ffc39257202f9f164ea",
        ),
    ),
    "quicknet": _Pair(
        "quicknet_weights",
        ("quicknet-v1.0", "quicknet-v1.0"),
        (
            "8aba9e4e5f8d342faef04a0b2ae8e562da57dbb7d15162e8b3e091c951ba756c",
            "204414e438373f14f6056a1c098249f505a87dd238e18d3a47a9bd8b66227881",
        ),
    ),
    "quicknet_large": _Pair(
        "quicknet_large_weights",
        ("quicknet-v1.0", "quicknet-v1.0"),
        (
            "c5158e8a59147b31370becd937825f4db8a5cdf308314874f678f596629be45c",
            "adcf154a2a8007e81bd6af77c035ffbf54cd6413b89a0ba294e23e76a82a1b78",
        ),
    ),
    "binary_alexnet": _Pair(
        "binary_alexnet_weights",
        ("binary_alexnet-v0.3.0", "binary_alexnet-v0.2.1"),
        (
            "7fc065c47c5c1d92389e0bb988ce6df6a4fa09d803b866e2ba648069d6652d63",
            "1d41b33ff39cd28d13679392641bf7711174a96d182417f91df45d0548f5bb47",
        ),
    ),
    "birealnet": _Pair(
        "birealnet_weights",
        ("birealnet-v0.3.0", "birealnet-v0.3.0"),
        (
            "6e6efac1584fcd60dd024198c87f42eb53b5ec719a5ca1f527e1fe7e8b997117",
            "5148b61c0c2a1094bdef811f68bf4957d5ba5f83ad26437b7a4a6855441ab46b",
        ),
    ),
    "binary_resnet_e18": _Pair(
        "resnet_e_18_weights",
        ("resnet_e-v0.1.0", "resnet_e-v0.1.0"),
        (
            "bde4a64d42c164a7b10a28debbe1ad5b287c499bc0247ecb00449e6e89f3bf5b",
            "14cb037e47d223827a8d09db88ec73d60e4153a4464dca847e5ae1a155e7f525",
        ),
    ),
    "binary_densenet28": _Pair(
        "binary_densenet_28_weights",
        ("binary_densenet-v0.1.0", "binary_densenet-v0.1.0"),
        (
            "21fe3ca03eed244df9c41a2219876fcf03e73800932ec96a3e2a76af4747ac53",
            "a376df1e41772c4427edd1856072b934a89bf293bf911438bf6f751a9b2a28f5",
        ),
    ),
    "binary_densenet37": _Pair(
        "binary_densenet_37_weights",
        ("binary_densenet-v0.1.0", "binary_densenet-v0.1.0"),
        (
            "8056a5d52c3ed86a934893987d09a06f59a5166aa9bddcaedb050f111d0a7d76",
            "4e12bca9fd27580a5b833241c4eb35d6cc332878c406048e6ca8dbbc78d59175",
        ),
    ),
    "binary_densenet37_dilated": _Pair(
        "binary_densenet_37_dilated_weights",
        ("binary_densenet-v0.1.0", "binary_densenet-v0.1.1"),
        (
            "15c1bcd79b8dc22971382fbf79acf364a3f51049d0e584a11533e6fdbb7363d3",
            "8b31fbfdc8de08a46c6adcda1ced48ace0a2ff0ce45a05c72b2acc27901dd88b",
        ),
    ),
    "binary_densenet45": _Pair(
        "binary_densenet_45_weights",
        ("binary_densenet-v0.1.0", "binary_densenet-v0.1.0"),
        (
            "d00a0d26fbd2dba1bfba8c0306c770f3aeea5c370e99f963bb239bd916f72c37",
            "e72d5cc6b0afe4612f8be7b1f9bb48a53ba2c8468b57bf1266d2900c99fd2adf",
        ),
    ),
    "real_to_binary_net": _Pair(
        "r2b_weights",
        ("r2b-v0.1.0", "r2b-v0.1.0"),
        (
            "e8fd16ca1ab9810ac3835f24f5c62758a57bc32a615f73aaa50d382d2b9617e1",
            "4ec47abf1a4da5c65f4908076257e8d5c812673891089a88c9d9e84e949d1dab",
        ),
    ),
    "xnornet": _Pair(
        "xnornet_weights",
        ("xnornet-v0.2.0", "xnornet-v0.2.1"),
        (
            "e6ba24f785655260ae76a2ef1fab520e3528243d9c8fac430299cd81dbeabe10",
            "20a17423090b2c80c6b7a6b62346faa4b2b7dc8d4da99efa792c9351cf86c3d5",
        ),
    ),
    "dorefanet": _Pair(
        "dorefanet_weights",
        ("dorefanet-v0.1.0", "dorefanet-v0.1.1"),
        (
            "645d7839d574faa3eeeca28f3115773d75da3ab67ff6876b4de12d10245ecf6a",
            "8650e8a86d8d3968722cf5f20bcebe74d6d7bb45bbf03c4bb8c6486343f37e31",
        ),
    ),
    "meliusnet22": _Pair(
        "meliusnet22_weights",
        ("meliusnet22-v0.1.0", "meliusnet22-v0.1.1"),
        (
            "c1ba85e8389ae326009665ec13331e49fc3df4d0f925fa8553e224f7362c18ed",
            "abfc5c50049d72a14e44df0c1cb73896ece2a1ab4bf9bb48fede6cc2f5e0b58f",
        ),
    ),
}


@dataclass(frozen=True)
class WeightsFile:
    """A weights file of Larq Zoo.

    network: its name in `el_larq.models.zoo.zoo_registry`.
    top: whether it contains the classifier.
    """

    network: str
    top: bool
    release: str
    name: str
    sha256: str

    @property
    def megabytes(self) -> int:
        """Its approximate size: four bytes per parameter of the whole network."""
        return round(4 * self._parameters / 1e6)

    @property
    def _parameters(self) -> int:
        return int(get_zoo_network(self.network).published["parameters"][0])

    @property
    def asset(self) -> Asset:
        return Asset(
            address=f"{RELEASES}/{self.release}/{self.name}",
            kind=f"the weights of {self.network}",
            max_bytes=4 * self._parameters + self._parameters // 2 + _SPARE,
            missing="the release no longer contains the file; give a copy of it with --from-file",
            sha256=self.sha256,
            published_by=SOURCE,
        )


def weights_file(network: str, *, top: bool = True) -> WeightsFile:
    """The published weights file of a network, named with or without "zoo:" in front.

    Raises:
        UsageError: there is no such network; the nearest name is offered.
    """
    return _file(get_zoo_network(network).name, top)


def published_as(sha256: str) -> WeightsFile | None:
    """The published weights file with this SHA-256."""
    for network, pair in _FILES.items():
        if sha256 in pair.sha256:
            return _file(network, top=pair.sha256.index(sha256) == 0)
    return None


def _file(network: str, top: bool) -> WeightsFile:
    pair, position = _FILES[network], 0 if top else 1
    return WeightsFile(network, top, pair.releases[position], f"{pair.stem}{'' if top else '_notop'}.h5", pair.sha256[position])
