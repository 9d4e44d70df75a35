"""Targets: what we integrate against."""

from mcvar.targets.base import Target
from mcvar.targets.basis import Family, ProductBasis
from mcvar.targets.convert import as_target
from mcvar.targets.mixture import MixtureProposal
from mcvar.targets.normal import Normal
from mcvar.targets.product import Product
from mcvar.targets.unnormalized import Unnormalized
from mcvar.targets.warped import Warp, Warped, Warping

__all__ = [
    "Family",
    "MixtureProposal",
    "Normal",
    "Product",
    "ProductBasis",
    "Target",
    "Unnormalized",
    "Warp",
    "Warped",
    "Warping",
    "as_target",
]
