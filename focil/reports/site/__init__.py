"""The project as static pages that need no network.

Notebooks, results, params and modules, linked with each other.
"""
