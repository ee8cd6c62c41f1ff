"""From files to the stream: data sets by name, checked, and tasks whose batches are handed out once."""
