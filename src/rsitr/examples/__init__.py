"""Pictures drawn from trained cells, one module for each paper whose figures they follow."""
