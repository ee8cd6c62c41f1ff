"""`python -m focil.reports.bench` prints all timings."""

from focil.base.progress import speak
from focil.reports.bench.timings import main

speak("quiet")
main()
