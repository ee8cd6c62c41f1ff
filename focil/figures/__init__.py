"""Every picture of the suite, one file per subject.

One convention: `draw_*` puts plain data on a Matplotlib axis, gives it a title that states what was found,
and returns the axis. A function without that prefix builds the whole `Picture`: the figure and its
alternative text, both derived from the same numbers. A picture leaves through `style.show` (a notebook cell)
or `style.save` (a PNG file).
"""
