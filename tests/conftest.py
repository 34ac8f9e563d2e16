"""What all tests share."""

import os

from hypothesis import settings

# Machines that run tests are busy, so no deadline for one example; and where a run decides whether
# a change lands, it must not depend on chance. Elsewhere each run looks for new examples.
settings.register_profile("lockstep", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lockstep")
