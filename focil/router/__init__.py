"""A router beside the experts: fixed patches, a streaming discriminant, and who answers with what."""
