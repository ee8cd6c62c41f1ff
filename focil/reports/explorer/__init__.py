"""The explorer: three tabs to play with sparsity, to watch FOCIL learn, and to look into runs.

For each tab one module computes, one says it as HTML, and one holds its controls:

- *Play with sparsity*: `planning`, `plans`, `planner`.
- *Watch it learn*: `learning` (in the thread of `worker`), `moments`, `learner`.
- *Look into a run*: `saved`, `results` and `images`, `viewer`.

`pieces` are of HTML, `layout` places controls beside pages, `widgets` puts the tabs together, `serve` opens
the page.
"""
