"""Whether the compiled kernels are wanted: where one was built it is used, unless told otherwise.

Each selector takes the compiled module `_x_c` or else its twin in plain Python, which says what it
has to do. LOCKSTEP_KERNEL=0 in the environment has all of them take the twins.
"""

import os

KERNEL_WANTED = os.environ.get("LOCKSTEP_KERNEL", "1") != "0"
