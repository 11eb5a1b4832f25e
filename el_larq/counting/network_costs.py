"""The cost of networks at their default image size, as counted here and as published. Does not import TensorFlow.

The counts are those of `el_larq.counting.counts` for each network with its defaults (width 1, 1000 classes, three input channels,
real-valued downsample convolutions) and binary convolutions, where it has any. They are stored because counting builds the
network, which takes seconds; a test repeats the count, and the prediction of instructions.
"""

from dataclasses import dataclass

from el_larq.published import of_network

COUNTED: dict[str, tuple[int, int]] = {
    "resnet18": (1_676_279_808, 137_793_536),
    "resnet26": (1_862_533_120, 479_723_520),
    "resnet34": (3_525_967_872, 137_793_536),
    "resnet50": (3_609_460_736, 479_723_520),
    "quicknet_small": (1_156_055_040, 15_941_120),
    "quicknet": (1_849_688_064, 29_651_712),
    "quicknet_large": (3_699_376_128, 29_651_712),
    "mobilenet": (539_492_352, 29_248_000),
    "reactnet_a": (4_816_896_000, 11_862_016),
    "reactnet_b": (4_688_445_440, 43_974_656),
    "reactnet_c": (4_688_445_440, 140_312_576),
    "reactnet_resnet18": (1_676_279_808, 137_793_536),
    "densenet28": (3_587_383_296, 202_484_224),
    "densenet37": (4_506_808_320, 199_738_368),
    "densenet121": (2_406_842_368, 196_108_288),
    "googlenet": (1_103_972_352, 478_699_520),
    "resnet20": (40_108_032, 768_512),
    "vgg_small": (603_979_776, 11_730_944),
    "mobilenet_v2": (0, 300_774_272),
}
"""BOPs and FLOPs of each network."""

INSTRUCTIONS: dict[str, dict[str, int]] = {
    name: dict(zip(("cortex-a53", "cortex-a72", "cortex-a76"), figures, strict=True))
    for name, figures in {
        "resnet18": (143_940_529, 124_472_945, 124_472_945),
        "resnet26": (349_080_022, 267_370_134, 267_370_134),
        "resnet34": (201_999_091, 182_531_507, 182_531_507),
        "resnet50": (422_389_896, 340_680_008, 340_680_008),
        "quicknet_small": (51_773_576, 49_518_424, 49_518_424),
        "quicknet": (81_818_432, 77_706_880, 77_706_880),
        "quicknet_large": (140_725_314, 136_613_762, 136_613_762),
        "mobilenet": (58_094_243, 58_094_243, 58_094_243),
        "reactnet_a": (168_617_268, 168_617_268, 168_617_268),
        "reactnet_b": (194_281_660, 188_463_580, 188_463_580),
        "reactnet_c": (222_466_192, 199_193_872, 199_193_872),
        "reactnet_resnet18": (143_179_049, 123_711_465, 123_711_465),
        "densenet28": (251_512_422, 220_538_150, 220_538_150),
        "densenet37": (280_520_620, 249_955_436, 249_955_436),
        "densenet121": (258_411_375, 228_316_207, 228_316_207),
        "googlenet": (313_289_976, 233_634_232, 233_634_232),
        "resnet20": (5_844_539, 5_797_211, 5_797_211),
        "vgg_small": (23_997_060, 23_997_060, 23_997_060),
        "mobilenet_v2": (166_903_305, 117_865_377, 117_865_377),
    }.items()
}
"""Predicted instructions of one inference of each network with method el, or float if it is real-valued, by core, as
`inspect --cost` predicts them for the Keras model. They are estimates; docs/cost.md has their error."""


@dataclass(frozen=True)
class Cost:
    """A cost figure of a network: its kind ("BOPs", "FLOPs", "OPs"), as counted here, and as published, if available.

    published: None where there is no comparable published number.
    source: the source of the published number; "" if there is none. For a published value that is not comparable, it quotes the
        value and its source.
    """

    network: str
    what: str
    counted: float
    published: float | None
    source: str

    @property
    def difference(self) -> float | None:
        """Difference between our count and the published figure, as a fraction of the latter."""
        return None if self.published is None else self.counted / self.published - 1


def costs() -> list[Cost]:
    """BOPs, FLOPs and OPs of every network."""
    found = []
    for network, (bops, flops) in COUNTED.items():
        for what, counted in (("BOPs", bops), ("FLOPs", flops), ("OPs", flops + bops / 64)):
            value, source = of_network(network).get(what, (None, ""))
            if isinstance(value, str):  # for a variant, or with conditions: text that cannot be compared
                value, source = None, f"published: {value}; {source}"
            found.append(Cost(network, what, counted, value, source))
    return found
