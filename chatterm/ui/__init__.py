"""All of Textual; nothing but `cli` imports it."""
