"""What every room stands on: errors that say what to do, files written whole or not at all, one random
stream per purpose."""
