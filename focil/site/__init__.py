"""The project as static pages that need no network: notebooks, results, params and modules, linked with each other."""
