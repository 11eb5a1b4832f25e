"""Multiply-accumulates of Larq Zoo's networks for one image of 224x224 pixels, by bits. Does not import TensorFlow.

The counts are those of `el_larq.counting.counts`. They are stored because counting builds the network, which takes seconds; a test
repeats the count.
"""

REAL = (32, 32)
BINARY = (1, 1)

MACS: dict[str, dict[tuple[int, int], int]] = {
    "quicknet_small": {BINARY: 1_156_055_040, REAL: 15_941_120},
    "quicknet": {BINARY: 1_849_688_064, REAL: 29_651_712},
    "quicknet_large": {BINARY: 3_699_376_128, REAL: 29_651_712},
    "binary_alexnet": {BINARY: 768_512_000, (1, 32): 72_855_552},
    "birealnet": {BINARY: 1_676_279_808, REAL: 137_793_536},
    "binary_resnet_e18": {BINARY: 1_676_279_808, REAL: 137_793_536},
    "binary_densenet28": {BINARY: 3_587_383_296, REAL: 202_484_224},
    "binary_densenet37": {BINARY: 4_506_808_320, REAL: 199_738_368},
    "binary_densenet37_dilated": {BINARY: 7_774_470_144, REAL: 452_625_408},
    "binary_densenet45": {BINARY: 6_430_556_160, REAL: 244_103_424},
    "real_to_binary_net": {BINARY: 1_676_279_808, REAL: 138_087_936},
    "xnornet": {BINARY: 1_025_744_896, REAL: 113_379_328},
    "dorefanet": {(1, 2): 2_924_609_536, REAL: 125_028_352},
    "meliusnet22": {BINARY: 4_624_220_160, REAL: 136_388_608},
}
"""By (bits of the weights, bits of the activations)."""
