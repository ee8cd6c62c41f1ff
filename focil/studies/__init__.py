"""Many trainings that one notebook reads together: audit, memory, layers."""
