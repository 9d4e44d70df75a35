"""Several related integrals, estimated together."""

from mcvar.joint.estimation import estimate_jointly
from mcvar.joint.result import JointEstimate

__all__ = ["JointEstimate", "estimate_jointly"]
