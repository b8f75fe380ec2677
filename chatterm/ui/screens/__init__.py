"""One screen a file: they join widgets with the rooms below."""
