"""What conditions say of tiles: in which of them any point is present, in which every one."""
