"""Several related integrals, estimated together."""

from mcvar.joint.estimation import estimate_jointly
from mcvar.joint.result import JointEstimate
from mcvar.joint.thermodynamic import Evidence, evidence

__all__ = ["Evidence", "JointEstimate", "estimate_jointly", "evidence"]
