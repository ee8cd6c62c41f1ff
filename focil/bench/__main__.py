"""`python -m focil.bench` prints all timings."""

from focil.bench.timings import main

main()
