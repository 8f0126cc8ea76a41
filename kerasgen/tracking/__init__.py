"""Signal tracks through a pixel detector with background: what replacing the background changes."""
