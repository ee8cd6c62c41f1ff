"""The explorer: a page to play with sparsity and to look into runs.

`planning` and `saved` compute, `views` says it as HTML, `widgets` only call them.
"""
