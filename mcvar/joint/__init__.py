"""Several related integrals, estimated together."""

from mcvar.joint.estimation import estimate_jointly
from mcvar.joint.evidence_result import Evidence
from mcvar.joint.result import JointEstimate
from mcvar.joint.thermodynamic import evidence

__all__ = ["Evidence", "JointEstimate", "estimate_jointly", "evidence"]
