"""Where the time goes: what `make bench` prints."""
