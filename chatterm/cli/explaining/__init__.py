"""What `chatterm explain` gathers about a text, and how it is put into tables, pictures and a page."""
