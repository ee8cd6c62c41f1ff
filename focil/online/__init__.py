"""What others do on the same stream: one pass, small batches, one method a file."""
