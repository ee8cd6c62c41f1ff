"""What a person reads: executed notebooks, published numbers, the explorer, the site, timings."""
