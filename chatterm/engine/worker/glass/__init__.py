"""Looking inside the model: attention, the logit lens and embeddings, beside the chat and without touching it."""
