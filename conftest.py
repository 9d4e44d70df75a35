"""What the doctests leave out where an extra is not installed; and one core per test process."""

import os
from importlib.util import find_spec

# Tests run in as many processes as there are cores: threads of linear algebra would only wait.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

collect_ignore = [] if find_spec("torch") else ["mcvar/torch.py", "mcvar/sliced/tensors.py"]
