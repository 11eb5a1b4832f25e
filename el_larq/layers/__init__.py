"""Keras layers, one concept per file. Importing this package registers them, so saved models load without custom_objects."""

from el_larq.layers.activation_scale import ActivationScale as ActivationScale
from el_larq.layers.add_to_last import AddToLast as AddToLast
from el_larq.layers.channel_shift import ChannelShift as ChannelShift
from el_larq.layers.elastic_link import ElasticLink as ElasticLink
from el_larq.layers.elastic_link import gamma_start as gamma_start
from el_larq.layers.gated_link import GatedLink as GatedLink
from el_larq.layers.interacted_bitcount import InteractedBitcount as InteractedBitcount
from el_larq.layers.l2_normalize import L2Normalize as L2Normalize
from el_larq.layers.leaky_clip import LeakyClip as LeakyClip
from el_larq.layers.learned_scale import LearnedScale as LearnedScale
from el_larq.layers.multi_base_conv import MultiBaseConv2D as MultiBaseConv2D
from el_larq.layers.multi_base_conv import MultiBaseDepthwiseConv2D as MultiBaseDepthwiseConv2D
from el_larq.layers.normalize import normalize as normalize
from el_larq.layers.rprelu import RPReLU as RPReLU
from el_larq.layers.split_channels import SplitChannels as SplitChannels
from el_larq.layers.ternary_split import TernarySplit as TernarySplit
