"""Pictures of a cascade: its graph with the passes over a rank, and where its points exist."""
