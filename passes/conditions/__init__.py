"""What conditions over coordinates say of the tiles in which any point, or every point, is present."""
