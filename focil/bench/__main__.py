"""`python -m focil.bench` prints all timings."""

from focil.base.progress import speak
from focil.bench.timings import main

speak("quiet")
main()
