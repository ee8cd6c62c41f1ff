"""The project as static pages that need no network, made by Sphinx."""
