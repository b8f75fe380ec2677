"""What finds and fetches weights."""
