"""How the built-in model is made: corpus, tokenizer, training, export, evaluation. The app imports nothing of it."""
