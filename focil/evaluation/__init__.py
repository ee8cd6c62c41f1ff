"""Who may know what at test time, and the measures that follow from it."""
