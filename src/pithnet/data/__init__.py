"""Image sets in memory, and batches from them."""

from pithnet.data.arrays import ArrayData, Normalization
from pithnet.data.batches import Augmentation, Batches
from pithnet.data.sources import DATASETS, NORMALIZATIONS, load

__all__ = ["DATASETS", "NORMALIZATIONS", "ArrayData", "Augmentation", "Batches", "Normalization", "load"]
