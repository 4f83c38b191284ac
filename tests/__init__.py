import os

# Two workers share two cores, and threads that wait by spinning starve each other. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
