"""What the transcript is set in: Markdown as lines of styled text, for a width and a theme. Knows no widget."""
