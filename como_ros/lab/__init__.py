"""The simulated lab: everything real but the atoms."""

import os

# MuJoCo reads this once, when it is first imported: draw without a screen, one software-rendering thread.
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("LP_NUM_THREADS", "1")
# So does numpy: a real-time thread that waits for helper threads of ordinary rank can wait for ever.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
