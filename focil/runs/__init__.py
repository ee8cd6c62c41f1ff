"""From a params file to result.json: the benchmark, one run of it, and where its numbers come from."""
