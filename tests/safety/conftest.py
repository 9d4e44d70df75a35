"""What is dear to make is made once per worker."""

import pytest

from mcvar.safety.overtaking import overtaking_proposal


@pytest.fixture(scope="session")
def proposal():
    return overtaking_proposal()
