"""The models screen: find a model, see whether it fits, download it, chat with it, look after it."""
