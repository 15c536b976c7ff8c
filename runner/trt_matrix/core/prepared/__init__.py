"""A network as its file holds it → one float32 input of fixed shape, which every engine is fed alike."""
